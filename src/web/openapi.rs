//! What `/openapi.json` says beyond the handlers themselves: credentials, and every status with which an operation may refuse.
//!
//! A handler writes `(status = "default", body = ProblemDocument)` for its refusals; here that becomes the list of statuses which its
//! place in the API makes possible, so that no answer is undocumented and the list is kept in one place.

use utoipa::Modify;
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{ContentBuilder, OpenApi, Ref, RefOr, ResponseBuilder};

/// Completes the description.
pub struct Completion;

impl Modify for Completion {
    fn modify(&self, description: &mut OpenApi) {
        let components = description.components.get_or_insert_default();
        for (name, about) in [
            (CLINIC, "A clinic's API key"),
            (SEAT, "The token of a seat's link; it is not consumed"),
            (OPERATOR, "The operator's token; the admin address needs none"),
        ] {
            let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some(about)).build();
            components.add_security_scheme(name, SecurityScheme::Http(scheme));
        }
        for (path, item) in &mut description.paths.paths {
            let credential = credential(path);
            for operation in operations(item) {
                complete(path, credential, operation);
            }
        }
    }
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    let PathItem { get, put, post, delete, patch, .. } = item;
    [get, put, post, delete, patch].into_iter().flatten()
}

/// Which credential a path wants.
fn credential(path: &str) -> Option<&'static str> {
    match path {
        "/v1/join" | "/v1/keys" => None,
        _ if path.starts_with("/v1/login") || path.starts_with("/v1/schemas/") => None,
        _ if path.starts_with("/v1/") => Some(CLINIC),
        _ if path.starts_with("/whip") || path.starts_with("/whep") => Some(SEAT),
        _ if path.starts_with("/admin/") => Some(OPERATOR),
        _ => None,
    }
}

fn complete(path: &str, credential: Option<&'static str>, operation: &mut Operation) {
    if let Some(name) = credential {
        operation.security = Some(vec![SecurityRequirement::new(name, [] as [&str; 0])]);
    }
    if operation.responses.responses.remove("default").is_none() {
        return;
    }
    let names_one = path.contains('{');
    let seat = path == "/v1/join" || path.starts_with("/v1/login") || credential == Some(SEAT);
    let possible = [
        (true, 400, "The request cannot be read"),
        (credential.is_some() || seat, 401, "The credential is missing, unknown, expired or revoked: never told apart"),
        (credential.is_some() || seat, 403, "Not with this credential, or not now"),
        (names_one || seat, 404, "There is nothing here that this credential may know of"),
        (true, 408, "The request took too long"),
        (true, 409, "Not in this state"),
        (names_one || seat, 410, "It is over, or gone"),
        (path.starts_with("/whip/"), 412, "The ICE session is not the current one"),
        (operation.request_body.is_some(), 413, "The body is too large"),
        (operation.request_body.is_some(), 415, "The body is of another media type"),
        (true, 422, "It asks for something impossible"),
        (path.starts_with("/whip/"), 428, "If-Match is required"),
        (true, 429, "Too many requests"),
        (true, 503, "The store does not answer, or the server is full or draining"),
    ];
    for (status, about) in possible.into_iter().filter(|(can, ..)| *can).map(|(_, status, about)| (status, about)) {
        let status = status.to_string();
        operation.responses.responses.entry(status).or_insert_with(|| problem(about));
    }
}

fn problem(about: &str) -> RefOr<utoipa::openapi::Response> {
    let schema = Ref::from_schema_name("ProblemDocument");
    let content = ContentBuilder::new().schema(Some(schema)).build();
    RefOr::T(ResponseBuilder::new().description(about).content("application/problem+json", content).build())
}

const CLINIC: &str = "clinic";
const SEAT: &str = "seat";
const OPERATOR: &str = "operator";

#[cfg(test)]
mod tests {
    use utoipa::OpenApi as _;

    #[test]
    fn no_operation_hides_its_refusals_behind_a_default() {
        let description = serde_json::to_value(crate::web::ApiDescription::openapi()).unwrap();
        let mut seen = 0;
        for (path, item) in description["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                let responses = operation["responses"].as_object().unwrap();
                assert!(!responses.contains_key("default"), "{method} {path}");
                for (status, response) in responses {
                    let problem = response["content"].get("application/problem+json").is_some();
                    let refused = status.starts_with(['4', '5']);
                    // `/ready` has its own.
                    assert!(problem == refused || path == "/ready", "{method} {path} {status}");
                }
                seen += 1;
            }
        }
        assert!(seen > 15);
        assert!(description["components"]["schemas"]["ProblemDocument"].is_object());
    }
}
