use models::domain::Label;
use serde::Serialize;

use super::{findings::Looked, measures::Share};
use crate::head::table::MeasureTable;

/// How well the head tells whether anything is the matter, whatever it is.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct JudgementMeasures {
    /// Pictures judged rightly.
    pub accuracy: Share,
    /// Of pictures in which something is the matter, those in which it sees nothing.
    pub escape_rate: Share,
    /// Of pictures in which nothing is the matter, those in which it sees something.
    pub overkill_rate: Share,
}

impl JudgementMeasures {
    /// Returns the measures; `None` without pictures of both kinds.
    pub(super) fn of(labels: &[Label], looked: &[Looked]) -> Option<Self> {
        let says_good = |one: &Looked| labels[one.told(labels)].is_good();
        let (good, bad): (Vec<_>, Vec<_>) = looked.iter().partition(|one| labels[one.truth].is_good());
        Some(Self {
            accuracy: Share::of(looked.iter().map(|one| says_good(one) == labels[one.truth].is_good()))?,
            escape_rate: Share::of(bad.into_iter().map(says_good))?,
            overkill_rate: Share::of(good.into_iter().map(|one| !says_good(one)))?,
        })
    }

    /// Returns the measures for a person.
    pub(super) fn table(&self) -> MeasureTable {
        let rows = [
            ("accuracy", "pictures judged rightly", self.accuracy),
            ("escape_rate", "of bad ones, those in which it sees nothing", self.escape_rate),
            ("overkill_rate", "of good ones, those in which it sees something", self.overkill_rate),
        ];
        MeasureTable {
            title: "Good or not",
            note: "Whether the head sees that anything is the matter, whatever it calls it. Intervals are exact binomial.",
            beside: "Pictures",
            rows: rows.into_iter().map(|(name, meaning, share)| share.row(name, meaning)).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::measures::tests::{label, looked},
        *,
    };

    #[test]
    fn another_disease_is_still_a_disease() {
        let labels = ["healthy", "mildew", "rust"].map(label);
        let all = [(0, 0), (0, 1), (1, 2), (2, 2), (2, 0), (1, 1)].map(|(truth, head)| looked(truth, head, None));
        let found = JudgementMeasures::of(&labels, &all).unwrap();
        assert_eq!([found.accuracy.n, found.escape_rate.n, found.overkill_rate.n], [6, 4, 2]);
        let wrong =
            [found.escape_rate, found.overkill_rate].map(|share| (share.share * share.n as f64).round() as usize);
        assert_eq!(wrong, [1, 1]);
        assert!((found.accuracy.share - 4.0 / 6.0).abs() < 1e-12);
        assert_eq!(JudgementMeasures::of(&labels, &all[2..]), None, "no good ones");
    }
}
