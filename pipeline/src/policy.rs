//! From measurements to a verdict: a pure function.

use std::time::Duration;

use models::GateReading;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    inspection::Failure,
    report::{DecidedBy, Disposition, ImageQuality, Verdict},
};

/// What to say about a part between clearly good and rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AmberAction {
    /// Pass it; the reason says that it is close to the limit.
    #[default]
    Pass,
    /// Ask a person.
    Review,
}

/// What to say when the verdict comes too late.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Failsafe {
    /// Reject the part.
    Fail,
    /// Ask a person.
    #[default]
    Review,
}

/// When a verdict is due and what holds if it is missed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deadline {
    /// Counted from capture.
    pub within: Duration,
    /// The verdict of a frame that missed it.
    pub failsafe: Failsafe,
}

/// How one station decides.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    /// A part that is not rejected but has a p-value of at most this, in 0..=1, is amber.
    pub amber_p_value: f64,
    /// What happens to amber parts.
    pub amber: AmberAction,
    /// What is proposed for a rejected part when the defect catalogue has no opinion.
    pub rejected: Disposition,
    /// When the verdict is due, if ever.
    pub deadline: Option<Deadline>,
}

impl Default for Policy {
    fn default() -> Self {
        Self { amber_p_value: 0.2, amber: AmberAction::Pass, rejected: Disposition::Hold, deadline: None }
    }
}

/// Everything that a verdict rests on.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// Why the picture could not be read, if it could not.
    pub unreadable: Option<&'a str>,
    /// The stage that failed on the frame, if one did.
    pub failure: Option<&'a Failure>,
    /// The picture's own measurements.
    pub quality: Option<&'a ImageQuality>,
    /// What the gate measured, and how it judges.
    pub reading: Option<(&'a GateReading, DecidedBy)>,
    /// What the defect catalogue proposes for the worst defect.
    pub proposed: Option<Disposition>,
    /// Time since capture.
    pub age: Duration,
}

/// The verdict and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// What Loupe says about the part.
    pub verdict: Verdict,
    /// What it proposes to do with the part.
    pub disposition: Disposition,
    /// Who had the last word.
    pub decided_by: DecidedBy,
    /// Why, in one sentence for a person.
    pub reason: String,
}

/// Returns the verdict that `policy` draws from `facts`.
///
/// A picture that cannot be judged is invalid whatever else is known; a missed deadline comes next; then the gate decides
/// in three zones: red above its threshold, amber at a p-value of at most [`Policy::amber_p_value`], green otherwise.
pub fn decide(policy: &Policy, facts: &Facts<'_>) -> Decision {
    if let Some(decision) = unfit(facts) {
        return decision;
    }
    if let Some(decision) = too_late(policy, facts.age) {
        return decision;
    }
    match facts.reading {
        Some((reading, decided_by)) => {
            let (verdict, disposition, reason) = judged(policy, reading, facts.proposed);
            Decision { verdict, disposition, decided_by, reason }
        }
        None => Decision {
            verdict: Verdict::Review,
            disposition: Disposition::Hold,
            decided_by: DecidedBy::NoReference,
            reason: "no good parts are enrolled for this station, so nothing can be said about this one".to_owned(),
        },
    }
}

fn unfit(facts: &Facts<'_>) -> Option<Decision> {
    let (decided_by, reason) = if let Some(why) = facts.unreadable {
        (DecidedBy::ImageCheck, format!("the picture could not be read: {why}"))
    } else if let Some(Failure { stage, message }) = facts.failure {
        (DecidedBy::Failure, format!("the {stage} stage failed on this picture: {message}"))
    } else {
        let quality = facts.quality.filter(|quality| !quality.ok)?;
        (DecidedBy::ImageCheck, format!("the picture cannot be judged: {}", quality.problems.join(", ")))
    };
    Some(Decision { verdict: Verdict::Invalid, disposition: Disposition::Hold, decided_by, reason })
}

/// Returns the fail-safe of `policy`, when it has a deadline that a frame of this `age` has missed.
pub(crate) fn too_late(policy: &Policy, age: Duration) -> Option<Decision> {
    let Deadline { within, failsafe } = policy.deadline.as_ref().filter(|deadline| age >= deadline.within)?;
    let (verdict, disposition) = match failsafe {
        Failsafe::Fail => (Verdict::Fail, policy.rejected),
        Failsafe::Review => (Verdict::Review, Disposition::Hold),
    };
    let (due, age) = (within.as_millis(), age.as_millis());
    let reason = format!("the verdict was due {due} ms after capture and was not there after {age} ms");
    Some(Decision { verdict, disposition, decided_by: DecidedBy::TimeoutFailsafe, reason })
}

fn judged(policy: &Policy, reading: &GateReading, proposed: Option<Disposition>) -> (Verdict, Disposition, String) {
    let GateReading { score, threshold, p_value, .. } = reading;
    let measured = format!("score {score:.3}, limit {threshold:.3}");
    // A score that is no number compares as not suspect; it must not pass for good.
    if !score.is_finite() {
        return (Verdict::Review, Disposition::Hold, format!("the gate gave no number ({measured})"));
    }
    if reading.is_suspect() {
        let reason = format!("looks stranger than every good part ({measured})");
        return (Verdict::Fail, proposed.unwrap_or(policy.rejected), reason);
    }
    match p_value.filter(|p| *p <= policy.amber_p_value) {
        None => (Verdict::Pass, Disposition::Accept, format!("looks like the good parts ({measured})")),
        Some(p) => {
            let reason = format!("within the limit, but stranger than most good parts ({measured}, p {p:.2})");
            match policy.amber {
                AmberAction::Pass => (Verdict::Pass, Disposition::Accept, reason),
                AmberAction::Review => (Verdict::Review, Disposition::Hold, reason),
            }
        }
    }
}

#[cfg(test)]
mod tests;
