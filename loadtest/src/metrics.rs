//! Reads a server's `/metrics` (Prometheus text) before and after a run: what was dropped, and why.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};

/// Counters by name and `reason` label, workers added up.
pub type Counters = BTreeMap<String, u64>;

/// Fetches the counters.
pub async fn read(url: &str) -> Result<Counters> {
    // reqwest's TLS wants a provider even for http.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let client = reqwest::Client::builder().no_proxy().build()?;
    let response = client.get(url).send().await.with_context(|| format!("--metrics-url {url}"))?;
    ensure!(response.status().is_success(), "--metrics-url {url}: {}", response.status());
    Ok(parse(&response.text().await?))
}

/// What grew between two readings, zeroes left out.
#[must_use]
pub fn growth(before: &Counters, after: &Counters) -> Counters {
    let grew = |(name, value): (&String, &u64)| {
        let more = value.saturating_sub(before.get(name).copied().unwrap_or(0));
        (more > 0).then(|| (name.clone(), more))
    };
    after.iter().filter_map(grew).collect()
}

fn parse(text: &str) -> Counters {
    let mut counters = Counters::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let Some((series, value)) = line.rsplit_once(' ') else { continue };
        let Ok(value) = value.parse::<f64>() else { continue };
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        let reason =
            labels.split_once("reason=\"").and_then(|(_, rest)| rest.split_once('"')).map(|(reason, _)| reason);
        let key = reason.map_or_else(|| name.to_owned(), |reason| format!("{name} {reason}"));
        *counters.entry(key).or_default() += value as u64;
    }
    counters
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_are_added_up_and_reasons_kept_apart() {
        let text = "# TYPE colloque_drops_total counter\n\
                    colloque_drops_total{worker=\"0\",reason=\"unknown-source\"} 7\n\
                    colloque_drops_total{worker=\"1\",reason=\"unknown-source\"} 5\n\
                    colloque_drops_total{worker=\"0\",reason=\"replayed\"} 1\n\
                    colloque_websockets 4\nnonsense\n";
        let before = parse(text);
        assert_eq!(before["colloque_drops_total unknown-source"], 12);
        let mut after = before.clone();
        *after.get_mut("colloque_drops_total unknown-source").unwrap() += 30;
        let grew: Vec<_> = growth(&before, &after).into_iter().collect();
        assert_eq!(grew, [("colloque_drops_total unknown-source".to_owned(), 30)]);
    }
}
