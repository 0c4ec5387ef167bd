//! From measurements to a verdict: a pure function.

use std::time::Duration;

use models::GateReading;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    inspection::Failure,
    report::{DecidedBy, Diagnosis, Disposition, ImageQuality, Verdict},
};

mod named;

use named::{doubt, named, worse};

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
    /// A diagnosis of at least this probability, in 0..=1, stands; one below is left to a person.
    pub sure_from: f64,
    /// A picture of less than this familiarity, in 0..=1, is none that trained eyes know.
    pub familiar_from: f64,
    /// When the verdict is due, if ever.
    pub deadline: Option<Deadline>,
}

impl Policy {
    /// Returns whether a diagnosis stands and something is the matter.
    pub(crate) fn is_trouble(&self, diagnosis: &Diagnosis) -> bool {
        !diagnosis.is_good
            && diagnosis.probability >= self.sure_from
            && !diagnosis.is_contradicted()
            && !diagnosis.is_stranger(self.familiar_from)
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            amber_p_value: 0.2,
            amber: AmberAction::Pass,
            rejected: Disposition::Hold,
            sure_from: 0.6,
            familiar_from: 0.05,
            deadline: None,
        }
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
    /// What trained eyes say.
    pub diagnosis: Option<Named<'a>>,
    /// What the defect catalogue proposes for the worst defect.
    pub proposed: Option<Disposition>,
    /// Time since capture.
    pub age: Duration,
}

/// What trained eyes say, and what it is worth.
#[derive(Debug, Clone, Copy)]
pub struct Named<'a> {
    /// What they say.
    pub diagnosis: &'a Diagnosis,
    /// Whether they know good parts; others only name what a gate has found.
    pub judges: bool,
    /// Whether the language model should have looked, too, and did not.
    pub is_unheard: bool,
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
/// in three zones: red above its threshold, amber at a p-value of at most [`Policy::amber_p_value`], green otherwise. Where trained
/// eyes know good parts, too, the worse of both verdicts holds.
pub fn decide(policy: &Policy, facts: &Facts<'_>) -> Decision {
    if let Some(decision) = unfit(facts) {
        return decision;
    }
    if let Some(decision) = too_late(policy, facts.age) {
        return decision;
    }
    let gate = facts.reading.map(|(reading, decided_by)| {
        let (verdict, disposition, reason) = judged(policy, reading, facts.proposed);
        Decision { verdict, disposition, decided_by, reason: with_name(policy, reason, facts.diagnosis) }
    });
    let judges = facts.diagnosis.filter(|named| named.judges);
    let named = judges.map(|judge| named(policy, judge, facts.proposed));
    match (gate, named) {
        (Some(gate), Some(named)) => worse(gate, named),
        (Some(decision), None) | (None, Some(decision)) => decision,
        (None, None) => no_reference(policy, facts.diagnosis),
    }
}

fn no_reference(policy: &Policy, diagnosis: Option<Named<'_>>) -> Decision {
    let reason = "there are no good parts to compare this one with, so a person has to judge".to_owned();
    Decision {
        verdict: Verdict::Review,
        disposition: Disposition::Hold,
        decided_by: DecidedBy::NoReference,
        reason: with_name(policy, reason, diagnosis),
    }
}

/// Adds to a reason what eyes that know only defects would call the part.
fn with_name(policy: &Policy, reason: String, diagnosis: Option<Named<'_>>) -> String {
    let Some(named) = diagnosis.filter(|named| !named.judges) else { return reason };
    match doubt(policy, named) {
        Some(why) => format!("{reason}; {why}"),
        None => format!("{reason}; by its looks {} ({:.2})", named.diagnosis.name(), named.diagnosis.probability),
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
