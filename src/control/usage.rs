//! Usage by postal prefix and act for territories: months that are over, no cell under ten, nothing to be had by subtraction.
//!
//! Four ways to find a small cell all the same, and what stands against each:
//! - *Ask for two spans that differ by a day*: only whole calendar months (UTC) are told, each for itself; there is no sum over
//!   months that was not made of what is told.
//! - *Ask today and tomorrow*: a month is told only when it is over.
//! - *Subtract what is told from the total*: what the total hides beside the cells told is nothing, or at least two cells of at
//!   least ten together; the smallest further cells are withheld until it is so.
//! - *Use two margins*: a month has one total, and none by act or by prefix.
//!
//! Counts are consultations that somebody joined, not people. Pure but for the questions to the store.

use serde::Serialize;
use utoipa::ToSchema;

use crate::store::Usage;

use super::booking::{BookingError, ClinicId};
use super::{Consultations, clock};

/// Usage of a clinic.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, ToSchema)]
pub struct UsageReport {
    /// Smallest number that is told.
    pub threshold: u32,
    /// In order.
    pub months: Vec<MonthUsage>,
}

/// One calendar month.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, ToSchema)]
pub struct MonthUsage {
    /// `2026-03`.
    pub month: String,
    /// Every consultation of the month, when that can be told.
    pub total: Option<u32>,
    /// By postal prefix, then act.
    pub cells: Vec<UsageCell>,
}

/// Consultations of one postal prefix and act.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, ToSchema)]
pub struct UsageCell {
    /// As the clinic gave it.
    pub postal_prefix: String,
    /// Which act.
    pub act: String,
    /// How many were held.
    pub consultations: u32,
}

impl Consultations {
    /// Usage of the months that a span touches (Unix seconds) and that are over.
    pub async fn usage(&self, clinic: &ClinicId, from: i64, to: i64) -> Result<UsageReport, BookingError> {
        if to <= from {
            return Err(BookingError::Invalid("to must be after from"));
        }
        let spans = months(from, to.min(clock::unix_now()))
            .ok_or(BookingError::Invalid("a span has at most 36 months; ask for the others apart"))?;
        let mut months = Vec::with_capacity(spans.len());
        for (from, to) in spans {
            if to <= clock::unix_now() {
                let cells = self.store.usage(&clinic.0, from, to).await?;
                months.push(MonthUsage::tell(&clock::format_rfc3339(from)[..7], &cells));
            }
        }
        Ok(UsageReport { threshold: THRESHOLD, months })
    }
}

impl MonthUsage {
    /// What may be told of a month.
    #[must_use]
    pub fn tell(month: &str, cells: &[Usage]) -> MonthUsage {
        let sum = |cells: &[UsageCell]| cells.iter().map(|cell| u64::from(cell.consultations)).sum::<u64>();
        let mut told: Vec<UsageCell> = cells
            .iter()
            .filter(|cell| cell.consultations > 0)
            .map(|cell| UsageCell {
                postal_prefix: cell.postal_prefix.clone(),
                act: cell.act.clone(),
                consultations: cell.consultations,
            })
            .collect();
        // Largest first: what is withheld stands at the end.
        told.sort_by(|a, b| b.consultations.cmp(&a.consultations).then_with(|| a.cmp(b)));
        let all = sum(&told);
        let mut withheld = told.split_off(told.partition_point(|cell| cell.consultations >= THRESHOLD));
        let is_safe =
            |hidden: &[UsageCell]| hidden.is_empty() || (hidden.len() > 1 && sum(hidden) >= u64::from(THRESHOLD));
        while !is_safe(&withheld) {
            let Some(smallest) = told.pop() else { break };
            withheld.push(smallest);
        }
        told.sort();
        let total = if is_safe(&withheld) { u32::try_from(all).ok().filter(|&all| all >= THRESHOLD) } else { None };
        MonthUsage { month: month.to_owned(), total, cells: told }
    }
}

/// Begin and end of each month that a span touches; nothing when they are too many.
fn months(from: i64, to: i64) -> Option<Vec<(i64, i64)>> {
    let mut months = Vec::new();
    let mut begin = clock::month_of(from).0;
    while begin < to {
        if months.len() == MONTHS_MAX {
            return None;
        }
        let end = clock::month_of(begin).1;
        months.push((begin, end));
        begin = end;
    }
    Some(months)
}

/// No cell under ten. Higher hides more of small territories, lower more of nobody.
const THRESHOLD: u32 = 10;
/// One question to the store each.
const MONTHS_MAX: usize = 36;

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    use super::*;

    fn cells(counts: &[u32]) -> Vec<Usage> {
        let cell = |(index, &consultations): (usize, &u32)| Usage {
            postal_prefix: format!("{:03}", 972 + index / 2),
            act: if index % 2 == 0 { "regulation" } else { "teleconsultation" }.to_owned(),
            consultations,
        };
        counts.iter().enumerate().map(cell).collect()
    }

    fn told(counts: &[u32]) -> (Vec<u32>, Option<u32>) {
        let month = MonthUsage::tell("2026-03", &cells(counts));
        (month.cells.iter().map(|cell| cell.consultations).collect(), month.total)
    }

    #[test]
    fn what_is_withheld_cannot_be_had_by_subtraction() {
        for (counts, expected, total) in [
            (&[10, 25][..], &[10, 25][..], Some(35)),
            (&[], &[], None),
            (&[9], &[], None),
            // One small cell: the next smallest goes with it.
            (&[40, 3, 12], &[40], Some(55)),
            // Two small cells of fewer than ten together.
            (&[40, 3, 4, 12], &[40], Some(59)),
            // Two of ten or more together hide each other.
            (&[40, 6, 4, 12], &[40, 12], Some(62)),
            // Nothing is left to hide it: no cell, and the total of two.
            (&[3, 12], &[], Some(15)),
            (&[3, 4], &[], None),
            (&[3, 8], &[], Some(11)),
            (&[0, 12], &[12], Some(12)),
        ] {
            assert_eq!(told(counts), (expected.to_vec(), total), "{counts:?}");
        }
    }

    #[test]
    fn no_month_tells_a_small_cell_whatever_it_holds() {
        let mut withheld = 0;
        for seed in 0..2_000 {
            let mut rng = StdRng::seed_from_u64(seed);
            let counts: Vec<u32> = (0..rng.random_range(0..9)).map(|_| rng.random_range(0..30)).collect();
            let (told, total) = told(&counts);
            assert!(told.iter().all(|&count| count >= THRESHOLD), "{counts:?}");
            let Some(total) = total else { continue };
            let hidden = total - told.iter().sum::<u32>();
            let cells = counts.iter().filter(|&&count| count > 0).count() - told.len();
            assert!(hidden == 0 && cells == 0 || hidden >= THRESHOLD && cells >= 2, "{counts:?}");
            withheld += cells;
        }
        assert!(withheld > 0);
    }

    #[test]
    fn a_span_is_told_by_whole_months() {
        let at = |text: &str| clock::parse_rfc3339(text).unwrap();
        let spans = months(at("2026-01-31T23:59:59Z"), at("2026-03-01T00:00:01Z")).unwrap();
        let begins: Vec<String> = spans.iter().map(|&(from, _)| clock::format_rfc3339(from)).collect();
        assert_eq!(begins, ["2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z", "2026-03-01T00:00:00Z"]);
        assert_eq!(spans[1].1, spans[2].0);
        assert_eq!(months(0, i64::MAX), None);
        assert_eq!(months(0, 1).unwrap().len(), 1);
    }
}
