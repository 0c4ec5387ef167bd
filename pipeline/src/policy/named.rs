use super::{Decision, Named, Policy};
use crate::report::{DecidedBy, Diagnosis, Disposition, Shown, Verdict};

/// Returns the verdict on a part whose picture was diagnosed.
///
/// Eyes that look at something they have never seen, that two judges name differently, or that are not sure leave it to a person.
pub(super) fn named(policy: &Policy, named: Named<'_>, proposed: Option<Disposition>) -> Decision {
    let diagnosis = named.diagnosis;
    let name = diagnosis.name();
    let (verdict, disposition, reason) = if let Some(why) = doubt(policy, named) {
        (Verdict::Review, Disposition::Hold, why)
    } else {
        let reason = format!("looks like {name} (probability {:.2})", diagnosis.probability);
        if diagnosis.is_good {
            (Verdict::Pass, Disposition::Accept, reason)
        } else {
            (Verdict::Fail, proposed.unwrap_or(policy.rejected), reason)
        }
    };
    Decision { verdict, disposition, decided_by: DecidedBy::Head, reason }
}

/// Returns why a diagnosis is left to a person; `None` where it stands.
pub(super) fn doubt(policy: &Policy, Named { diagnosis, is_unheard, .. }: Named<'_>) -> Option<String> {
    let Diagnosis { by, probability, language_model, alternatives, .. } = diagnosis;
    let name = diagnosis.name();
    if let Some(p) = diagnosis.familiarity.filter(|_| diagnosis.is_stranger(policy.familiar_from)) {
        let what = strange(by, diagnosis.shows.unwrap_or(Shown::Unknown));
        return Some(format!("{what} (familiarity {p:.3}, below {})", policy.familiar_from));
    }
    if let Some(other) = language_model.as_ref().filter(|_| diagnosis.is_contradicted()) {
        return Some(format!("{by} names {name}, the language model {other}"));
    }
    if *probability >= policy.sure_from {
        return is_unheard.then(|| format!("{by} names {name}, and the language model did not look"));
    }
    let others: Vec<String> =
        alternatives.iter().map(|other| format!(", {} {:.2}", other.name, other.probability)).collect();
    Some(format!("{by} is not sure: {name} {probability:.2}{}", others.concat()))
}

/// Returns what is said of a picture that the domain `by` does not know.
fn strange(by: &str, shows: Shown) -> String {
    match shows {
        Shown::Plant => format!("looks like a plant, but like none that {by} has learned"),
        Shown::Part => format!("looks like a part, but like none that {by} has learned"),
        Shown::PoorPicture => "too poor a picture to tell: out of focus, too dark or too bright".to_owned(),
        Shown::Other => "looks like neither a plant nor a part".to_owned(),
        Shown::Unknown => format!("looks like nothing that {by} has learned"),
    }
}

/// Returns the worse of two decisions, the first where they are equally bad.
pub(super) fn worse(first: Decision, second: Decision) -> Decision {
    let rank = |decision: &Decision| match decision.verdict {
        Verdict::Pass => 0,
        Verdict::Review => 1,
        Verdict::Fail => 2,
        Verdict::Invalid => 3,
    };
    if rank(&second) > rank(&first) { second } else { first }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use models::{GateReading, HeatMap};

    use super::*;
    use crate::{
        policy::{Facts, decide},
        report::Alternative,
    };

    fn diagnosis(finding: &str, probability: f64) -> Diagnosis {
        Diagnosis {
            by: "crops".to_owned(),
            subject: Some("oak leaf".to_owned()),
            finding: finding.to_owned(),
            code: None,
            is_good: finding == "healthy",
            probability,
            alternatives: vec![Alternative { name: "oak leaf: rust".to_owned(), probability: 0.2 }],
            familiarity: Some(0.5),
            shows: None,
            extent: None,
            language_model: None,
        }
    }

    fn decision(seen: (&Diagnosis, bool), reading: Option<&GateReading>) -> Decision {
        let facts = Facts {
            unreadable: None,
            failure: None,
            quality: None,
            reading: reading.map(|reading| (reading, DecidedBy::Bank)),
            diagnosis: Some(Named { diagnosis: seen.0, judges: seen.1, is_unheard: false }),
            proposed: None,
            age: Duration::ZERO,
        };
        decide(&Policy::default(), &facts)
    }

    fn reading(score: f32) -> GateReading {
        let heat_map = HeatMap { size: cameras::Size::new(0, 0), values: Vec::new(), threshold: 1.0 };
        GateReading { score, threshold: 1.0, p_value: None, heat_map, regions: Vec::new() }
    }

    #[test]
    fn of_a_stranger_is_said_what_it_shows() {
        let cases = [
            (Shown::Plant, "looks like a plant, but like none that crops has learned"),
            (Shown::Part, "looks like a part, but like none that crops has learned"),
            (Shown::PoorPicture, "too poor a picture to tell: out of focus, too dark or too bright"),
            (Shown::Other, "looks like neither a plant nor a part"),
            (Shown::Unknown, "looks like nothing that crops has learned"),
        ];
        for (shows, expected) in cases {
            let strange = Diagnosis { familiarity: Some(0.004), shows: Some(shows), ..diagnosis("healthy", 0.99) };
            let decision = decision((&strange, true), None);
            assert_eq!(decision.verdict, Verdict::Review);
            assert_eq!(decision.reason, format!("{expected} (familiarity 0.004, below 0.05)"));
        }
        // What it shows at all is not said of one that the eyes know.
        let known = Diagnosis { shows: Some(Shown::Plant), ..diagnosis("healthy", 0.97) };
        assert_eq!(decision((&known, true), None).verdict, Verdict::Pass);
    }

    #[test]
    fn passes_fails_and_leaves_every_doubt_to_a_person() {
        let strange = Diagnosis { familiarity: Some(0.004), ..diagnosis("healthy", 0.99) };
        let agreed = Diagnosis { language_model: Some("oak leaf: mildew".to_owned()), ..diagnosis("mildew", 0.9) };
        let contradicted = Diagnosis { language_model: Some("oak leaf: rust".to_owned()), ..diagnosis("mildew", 0.9) };
        let cases = [
            (diagnosis("healthy", 0.97), Verdict::Pass, "looks like oak leaf: healthy (probability 0.97)"),
            (diagnosis("mildew", 0.9), Verdict::Fail, "looks like oak leaf: mildew (probability 0.90)"),
            (
                diagnosis("mildew", 0.5),
                Verdict::Review,
                "crops is not sure: oak leaf: mildew 0.50, oak leaf: rust 0.20",
            ),
            (strange, Verdict::Review, "looks like nothing that crops has learned (familiarity 0.004, below 0.05)"),
            (agreed, Verdict::Fail, "looks like oak leaf: mildew (probability 0.90)"),
            (contradicted, Verdict::Review, "crops names oak leaf: mildew, the language model oak leaf: rust"),
        ];
        for (diagnosis, verdict, reason) in cases {
            let found = decision((&diagnosis, true), None);
            assert_eq!((found.verdict, found.decided_by, found.reason.as_str()), (verdict, DecidedBy::Head, reason));
        }
    }

    #[test]
    fn the_worse_of_gate_and_eyes_holds() {
        let (good, bad, unsure) = (diagnosis("healthy", 0.9), diagnosis("mildew", 0.9), diagnosis("mildew", 0.3));
        let cases = [
            (0.5, &good, Verdict::Pass, DecidedBy::Bank),
            (0.5, &bad, Verdict::Fail, DecidedBy::Head),
            (0.5, &unsure, Verdict::Review, DecidedBy::Head),
            (2.0, &good, Verdict::Fail, DecidedBy::Bank),
            (2.0, &unsure, Verdict::Fail, DecidedBy::Bank),
        ];
        for (score, diagnosis, verdict, decided_by) in cases {
            let found = decision((diagnosis, true), Some(&reading(score)));
            assert_eq!((found.verdict, found.decided_by), (verdict, decided_by), "{score} {}", diagnosis.finding);
        }
    }

    #[test]
    fn eyes_that_know_only_defects_name_and_do_not_judge() {
        let scratch = diagnosis("scratch", 0.9);
        let alone = decision((&scratch, false), None);
        assert_eq!((alone.verdict, alone.decided_by), (Verdict::Review, DecidedBy::NoReference));
        assert!(alone.reason.ends_with("; by its looks oak leaf: scratch (0.90)"), "{}", alone.reason);
        let suspect = decision((&scratch, false), Some(&reading(2.0)));
        assert_eq!((suspect.verdict, suspect.decided_by), (Verdict::Fail, DecidedBy::Bank));
        assert!(suspect.reason.contains("by its looks oak leaf: scratch"), "{}", suspect.reason);
        let unsure = decision((&diagnosis("scratch", 0.2), false), Some(&reading(2.0)));
        assert!(unsure.reason.contains("crops is not sure"), "{}", unsure.reason);
    }
}
