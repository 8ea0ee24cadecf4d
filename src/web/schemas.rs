//! JSON Schemas (2020-12) of what clinics keep or read by machine, generated from the types that are sent.
//!
//! OpenAPI 3.1 describes its bodies in the same language; here each stands alone, so that a record can be validated in ten years
//! without the rest of the API.

use axum::Json;
use axum::extract::{Path, State};
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use crate::control::record::document::RecordDocument;
use crate::control::record::statement::Statement;
use crate::control::usage::UsageReport;

use super::AppState;
use super::operations::Capabilities;
use super::problem::{Problem, ProblemDocument};

/// The JSON Schema of a document: `record.json`, `statement.json`, `usage.json`, `capabilities.json`.
#[utoipa::path(get, path = "/v1/schemas/{name}", params(("name" = String, Path, example = "record.json")), responses(
    (status = 200, body = serde_json::Map<String, serde_json::Value>, content_type = "application/json"),
    (status = "default", body = ProblemDocument)))]
pub async fn schema(State(state): State<AppState>, Path(name): Path<String>) -> Result<Json<Value>, Problem> {
    let base = state.consultations.base_url();
    let schema = match name.as_str() {
        "record.json" => standalone::<RecordDocument>(base, &name),
        "statement.json" => standalone::<Statement>(base, &name),
        "usage.json" => standalone::<UsageReport>(base, &name),
        "capabilities.json" => standalone::<Capabilities>(base, &name),
        _ => return Err(Problem::not_found()),
    };
    Ok(Json(schema))
}

/// A schema with everything that it refers to.
fn standalone<T: ToSchema>(base: &str, name: &str) -> Value {
    let mut referred = Vec::new();
    T::schemas(&mut referred);
    referred.push((T::name().into_owned(), T::schema()));
    let schemas: Map<String, Value> = referred
        .into_iter()
        .map(|(name, schema)| (name, serde_json::to_value(schema).expect("a schema is plain data")))
        .collect();
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": format!("{base}/v1/schemas/{name}"),
        "$ref": format!("#/components/schemas/{}", T::name()),
        "components": { "schemas": schemas },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn references(value: &Value, into: &mut Vec<String>) {
        match value {
            Value::Object(map) => {
                into.extend(map.get("$ref").and_then(Value::as_str).map(str::to_owned));
                map.values().for_each(|value| references(value, into));
            }
            Value::Array(list) => list.iter().for_each(|value| references(value, into)),
            _ => {}
        }
    }

    #[test]
    fn a_schema_refers_to_nothing_outside_itself() {
        for schema in [
            standalone::<RecordDocument>("https://c.example", "record.json"),
            standalone::<Statement>("https://c.example", "statement.json"),
            standalone::<UsageReport>("https://c.example", "usage.json"),
            standalone::<Capabilities>("https://c.example", "capabilities.json"),
        ] {
            let mut found = Vec::new();
            references(&schema, &mut found);
            assert!(!found.is_empty());
            for reference in found {
                let target = schema.pointer(reference.strip_prefix('#').unwrap());
                assert!(target.is_some_and(Value::is_object), "{reference}");
            }
        }
    }
}
