//! Two evaluations of the same images side by side: `loupe eval --compare`.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::{
    EvalError, Latency,
    explained::{EXPLAINED, OF_DOMAINS, OF_HEADS, is_better_smaller, is_of_strangers},
    metrics::{Interval, mcnemar_exact},
};
use reading::{Measured, Rights};

mod reading;

/// The version that a comparison carries in its field `schema`.
const SCHEMA: &str = "loupe.comparison/1";

/// One of the two evaluations.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Side {
    /// Its `metrics.json`.
    pub path: PathBuf,
    /// What judged: a gate, a station, a head or a domain.
    pub judge: String,
    /// The data set's folder.
    pub dataset: String,
    /// Images that were judged.
    pub n_images: u64,
    /// Choices of golden or training images that the measures are means over.
    pub n_seeds: usize,
}

/// A measure with the 95 % interval over the choice of images, where it has one.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Value {
    /// Mean over the seeds.
    pub value: f64,
    /// See [`crate::eval::Metrics::intervals_95`].
    pub interval_95: Option<Interval>,
}

/// The side that does better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Better {
    /// The first one.
    A,
    /// The second one.
    B,
    /// Neither.
    Equal,
}

/// A measure that both sides have.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Compared {
    /// Its name.
    pub measure: &'static str,
    /// Of the first side.
    pub a: Value,
    /// Of the second side.
    pub b: Value,
    /// The second less the first.
    pub difference: f64,
    /// Which side does better; whether by more than chance is for the intervals and the paired test to say.
    pub better: Better,
    /// Whether the two intervals share a value; `None` where one is missing. Apart, the difference is hardly chance; overlapping ones decide nothing.
    pub intervals_overlap: Option<bool>,
}

/// The exact test of `McNemar` on who was right about each image, in the first seed of each side.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Paired {
    /// Images.
    pub n_images: usize,
    /// Images that the first side alone judged rightly.
    pub only_a_right: u64,
    /// Images that the second side alone judged rightly.
    pub only_b_right: u64,
    /// Two-sided.
    pub p_value: f64,
}

/// Two evaluations of the same images.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// Always `loupe.comparison/1`.
    pub schema: &'static str,
    /// The first.
    pub a: Side,
    /// The second.
    pub b: Side,
    /// Whether both say by a hash which images and labels they judged; else only their number was compared.
    pub data_is_known_equal: bool,
    /// Whether both were measured on strangers that are not known to be the same: what depends on them is then not compared.
    pub strangers_differ: bool,
    /// The measures that both have.
    pub measures: Vec<Compared>,
    /// Of the first and of the second side, in milliseconds.
    pub latency_ms: [Option<Latency>; 2],
    /// Of the accuracy.
    pub paired: Option<Paired>,
    /// Why there is no paired test.
    pub not_paired: Option<String>,
}

impl Comparison {
    /// Returns the `metrics.json` at `a` and `b` side by side, with a paired test where `predictions.jsonl` lies beside both.
    ///
    /// # Errors
    /// When a file cannot be read or is no `metrics.json`, or the two are of different images or of measures that mean different things.
    pub fn of(a: &Path, b: &Path) -> Result<Self, EvalError> {
        let (first, second) = (Measured::open(a)?, Measured::open(b)?);
        check_comparable((a, &first), (b, &second))?;
        let measures = names().filter_map(|name| compared(name, &first, &second));
        let knows_strangers = first.strangers_sha256.is_some() && first.strangers_sha256 == second.strangers_sha256;
        let (left_out, measures): (Vec<Compared>, Vec<Compared>) =
            measures.partition(|row| !knows_strangers && is_of_strangers(row.measure));
        let has_accuracy = measures.iter().any(|row| row.measure == "accuracy");
        let (paired, not_paired) = match has_accuracy.then(|| paired(a, b)) {
            Some(Ok(paired)) => (Some(paired), None),
            Some(Err(error)) => (None, Some(error.to_string())),
            None => (None, Some("there is no accuracy in both files".to_owned())),
        };
        Ok(Self {
            schema: SCHEMA,
            data_is_known_equal: first.data_sha256.is_some() && second.data_sha256.is_some(),
            strangers_differ: !left_out.is_empty(),
            measures,
            latency_ms: [first.latency_ms, second.latency_ms],
            paired,
            not_paired,
            a: first.into_side(a),
            b: second.into_side(b),
        })
    }
}

fn names() -> impl Iterator<Item = &'static str> {
    EXPLAINED.iter().chain(&OF_HEADS).map(|(name, _)| *name).chain(OF_DOMAINS)
}

/// The same images with the same labels, and measures that mean the same.
fn check_comparable((a, first): (&Path, &Measured), (b, second): (&Path, &Measured)) -> Result<(), EvalError> {
    let refused = |expected: String, found: String| EvalError::WrongFile { path: b.to_owned(), expected, found };
    if first.n_images != second.n_images {
        let expected = format!("the {} images of {}", first.n_images, a.display());
        return Err(refused(expected, format!("{} images", second.n_images)));
    }
    if let (Some(one), Some(other)) = (&first.data_sha256, &second.data_sha256)
        && one != other
    {
        let expected = format!("the images and labels of {} (SHA-256 {})", a.display(), short(one));
        return Err(refused(expected, format!("others (SHA-256 {})", short(other))));
    }
    if first.is_of_verdicts() != second.is_of_verdicts()
        && [first, second].into_iter().any(|side| !side.tells_two_classes())
    {
        let expected = format!("measures that mean what those of {} ({}) do", a.display(), first.meaning());
        return Err(refused(expected, second.meaning()));
    }
    Ok(())
}

fn short(sha256: &str) -> String {
    sha256.chars().take(12).collect()
}

fn compared(measure: &'static str, first: &Measured, second: &Measured) -> Option<Compared> {
    let (a, b) = (first.value(measure)?, second.value(measure)?);
    let difference = b.value - a.value;
    let gain = if is_better_smaller(measure) { -difference } else { difference };
    let better = match gain {
        gain if gain > 0.0 => Better::B,
        gain if gain < 0.0 => Better::A,
        _ => Better::Equal,
    };
    let overlap = |a: Interval, b: Interval| a.low <= b.high && b.low <= a.high;
    let intervals_overlap = a.interval_95.zip(b.interval_95).map(|(a, b)| overlap(a, b));
    Some(Compared { measure, a, b, difference, better, intervals_overlap })
}

fn paired(a: &Path, b: &Path) -> Result<Paired, EvalError> {
    if reading::predictions_beside(a) == reading::predictions_beside(b) {
        return Err(EvalError::WrongFile {
            path: reading::predictions_beside(b),
            expected: "a folder for each evaluation".to_owned(),
            found: "both in one".to_owned(),
        });
    }
    let (first, second) = (Rights::beside(a)?, Rights::beside(b)?);
    if !first.0.keys().eq(second.0.keys()) {
        return Err(EvalError::WrongFile {
            path: reading::predictions_beside(b),
            expected: format!("the images of {}", reading::predictions_beside(a).display()),
            found: "others".to_owned(),
        });
    }
    let (mut only_a_right, mut only_b_right) = (0, 0);
    for (a_is_right, b_is_right) in first.0.values().zip(second.0.values()) {
        only_a_right += u64::from(*a_is_right && !b_is_right);
        only_b_right += u64::from(*b_is_right && !a_is_right);
    }
    let p_value = mcnemar_exact(only_a_right, only_b_right);
    Ok(Paired { n_images: first.0.len(), only_a_right, only_b_right, p_value })
}

#[cfg(test)]
mod tests;
