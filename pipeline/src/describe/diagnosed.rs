//! What is said about a frame that trained eyes have named: in plain sentences, because a diagnosis is no place for style.

use crate::{
    knowledge::{Crops, Knowledge},
    report::{Alternative, Description, Diagnosis},
};

use super::author::Looked;

/// Closes every advice on a plant that is not healthy.
const LABEL_LINE: &str = "Use only products registered in your country for this crop, read and follow the local label (rate, \
                          protective equipment, re-entry and pre-harvest interval).";

/// What helps where nothing is certain.
const SECOND_LOOK: [&str; 3] = [
    "Take another picture: one leaf or part that fills most of it, in focus, in even light, before a plain background.",
    "Photograph several, and both sides.",
    "Let a person look before anything is done.",
];

/// Returns what is said about `diagnosis`, which stands from the probability `sure_from` on; `looked` is what the language model saw,
/// where it was asked. Advice on what to do comes only with a diagnosis that stands.
pub(super) fn description(
    books: (&Knowledge, &Crops),
    (diagnosis, sure_from): (&Diagnosis, f64),
    looked: Option<&Looked>,
) -> Description {
    let is_contradicted = looked.is_some_and(|looked| looked.named != diagnosis.name());
    let description = Description {
        summary: summary(diagnosis, looked),
        possible_causes: Vec::new(),
        actions: SECOND_LOOK.map(str::to_owned).to_vec(),
        sources: Vec::new(),
        sees_pixels: looked.is_some(),
        prompt_sha256: looked.map(|looked| looked.prompt_sha256.clone()).unwrap_or_default(),
        tokens_in: looked.map_or(0, |looked| looked.tokens_in),
        tokens_out: looked.map_or(0, |looked| looked.tokens_out),
        tokens_forced: looked.map_or(0, |looked| looked.tokens_forced),
    };
    if is_contradicted || diagnosis.probability < sure_from {
        return description;
    }
    advised(description, books, diagnosis)
}

/// Returns the description with what the knowledge base says about a diagnosis that stands.
fn advised(description: Description, (knowledge, crops): (&Knowledge, &Crops), diagnosis: &Diagnosis) -> Description {
    let code = diagnosis.code.as_deref().unwrap_or_default();
    let (possible_causes, mut actions, sources) = if let Some(crop) = crops.entry(code) {
        (crop.favoured_by.clone(), crop.actions_now.clone(), crop.sources.clone())
    } else if let Some(defect) = knowledge.entry(code) {
        (defect.likely_causes.clone(), defect.corrective_actions.clone(), defect.sources.clone())
    } else {
        Default::default()
    };
    if crops.entry(code).is_some() && !diagnosis.is_good {
        actions.push(LABEL_LINE.to_owned());
    }
    Description { possible_causes, actions, sources, ..description }
}

/// Returns what was measured and what was seen of one frame as one text.
pub(super) fn joined(measured: Description, seen: Description) -> Description {
    let both = |first: Vec<String>, second: Vec<String>| {
        let fresh: Vec<String> = second.into_iter().filter(|text| !first.contains(text)).collect();
        first.into_iter().chain(fresh).collect()
    };
    Description {
        summary: format!("{} {}", measured.summary, seen.summary),
        possible_causes: both(measured.possible_causes, seen.possible_causes),
        actions: both(measured.actions, seen.actions),
        sources: both(measured.sources, seen.sources),
        sees_pixels: seen.sees_pixels,
        prompt_sha256: if seen.sees_pixels { seen.prompt_sha256 } else { measured.prompt_sha256 },
        tokens_in: measured.tokens_in + seen.tokens_in,
        tokens_out: measured.tokens_out + seen.tokens_out,
        tokens_forced: measured.tokens_forced + seen.tokens_forced,
    }
}

fn summary(diagnosis: &Diagnosis, looked: Option<&Looked>) -> String {
    let mut sentences = vec![format!("Looks like {} (probability {:.2}).", diagnosis.name(), diagnosis.probability)];
    if let [Alternative { name, probability }, ..] = diagnosis.alternatives.as_slice() {
        sentences.push(format!("Next likely: {name} ({probability:.2})."));
    }
    match looked {
        Some(looked) if looked.named == diagnosis.name() => {
            sentences.push("The language model sees the same.".to_owned());
        }
        Some(looked) => sentences.push(format!("The language model sees {}: let a person look.", looked.named)),
        None => {}
    }
    sentences.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn diagnosis(code: Option<&str>, finding: &str) -> Diagnosis {
        Diagnosis {
            by: "crops".to_owned(),
            subject: Some("tomato leaf".to_owned()),
            finding: finding.to_owned(),
            code: code.map(str::to_owned),
            is_good: finding == "healthy",
            probability: 0.912,
            alternatives: vec![Alternative { name: "tomato leaf: target spot".to_owned(), probability: 0.05 }],
            familiarity: None,
            language_model: None,
        }
    }

    fn described(diagnosis: &Diagnosis, looked: Option<&Looked>) -> Description {
        description((&Knowledge::embedded().unwrap(), &Crops::embedded().unwrap()), (diagnosis, 0.6), looked)
    }

    fn looked(named: &str) -> Looked {
        let prompt_sha256 = "a".repeat(64);
        Looked { named: named.to_owned(), prompt_sha256, tokens_in: 70, tokens_out: 12, tokens_forced: 5 }
    }

    #[test]
    fn a_disease_comes_with_advice_and_the_line_about_the_label() {
        let found = described(&diagnosis(Some("tomato_early_blight"), "early blight"), None);
        let expected =
            "Looks like tomato leaf: early blight (probability 0.91). Next likely: tomato leaf: target spot (0.05).";
        assert_eq!((found.summary.as_str(), found.sees_pixels), (expected, false));
        assert!(!found.possible_causes.is_empty() && !found.sources.is_empty());
        assert_eq!(found.actions.last().map(String::as_str), Some(LABEL_LINE));
        let healthy = described(&diagnosis(Some("tomato_healthy"), "healthy"), None);
        assert!(!healthy.actions.is_empty() && healthy.actions.iter().all(|action| action != LABEL_LINE));
    }

    #[test]
    fn what_has_no_entry_gets_no_advice_and_a_defect_its_own() {
        let unknown = described(&diagnosis(None, "early blight"), None);
        assert!(unknown.actions.is_empty() && unknown.possible_causes.is_empty());
        let defect = described(&diagnosis(Some("steel_scratches"), "scratches"), None);
        assert!(!defect.actions.is_empty() && defect.actions.iter().all(|action| action != LABEL_LINE));
    }

    #[test]
    fn what_was_measured_and_what_was_seen_become_one_text() {
        let seen =
            described(&diagnosis(Some("tomato_early_blight"), "early blight"), Some(&looked("potato leaf: rust")));
        let measured =
            Description { summary: "An area differs.".to_owned(), tokens_in: 90, sees_pixels: false, ..seen.clone() };
        let both = joined(measured, seen.clone());
        assert!(both.summary.starts_with("An area differs. Looks like tomato leaf"), "{}", both.summary);
        assert_eq!((both.sees_pixels, both.tokens_in, both.actions), (true, 160, seen.actions));
    }

    #[test]
    fn what_does_not_stand_gets_advice_for_another_look_alone() {
        let unsure = Diagnosis { probability: 0.55, ..diagnosis(Some("tomato_early_blight"), "early blight") };
        let contradicted = diagnosis(Some("tomato_early_blight"), "early blight");
        for found in [described(&unsure, None), described(&contradicted, Some(&looked("potato leaf: healthy")))] {
            assert_eq!(found.actions, SECOND_LOOK);
            assert!(found.possible_causes.is_empty() && found.sources.is_empty());
        }
    }

    #[test]
    fn what_the_language_model_sees_is_said() {
        let diagnosis = diagnosis(None, "early blight");
        let same = described(&diagnosis, Some(&looked("tomato leaf: early blight")));
        assert!(same.summary.ends_with("The language model sees the same.") && same.sees_pixels);
        assert_eq!((same.tokens_in, same.tokens_out, same.tokens_forced), (70, 12, 5));
        let other = described(&diagnosis, Some(&looked("potato leaf: healthy")));
        assert!(other.summary.ends_with("The language model sees potato leaf: healthy: let a person look."));
    }
}
