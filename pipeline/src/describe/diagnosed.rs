//! What is said about a frame that trained eyes have named: in plain sentences, because a diagnosis is no place for style.

use crate::{
    knowledge::{Crops, Knowledge},
    report::{Alternative, Description, Diagnosis, FoundBy},
    stage::{Seen, Suspect},
};

use super::{author::Looked, phrases::place};

/// Closes every advice on a plant that is not healthy.
const LABEL_LINE: &str = "Use only products registered in your country for this crop, read and follow the local label (rate, \
                          protective equipment, re-entry and pre-harvest interval).";

/// What helps where nothing is certain.
const SECOND_LOOK: [&str; 3] = [
    "Take another picture: one leaf or part that fills most of it, in focus, in even light, before a plain background.",
    "Photograph several, and both sides.",
    "Let a person look before anything is done.",
];

/// A diagnosis and what it is worth.
#[derive(Debug, Clone, Copy)]
pub(super) struct Diagnosed<'a> {
    pub(super) diagnosis: &'a Diagnosis,
    /// It stands from this probability on.
    pub(super) sure_from: f64,
    /// Where the eyes see it, in words; `None` where a gate has said where to look, or nobody can.
    pub(super) zone: Option<&'a str>,
}

impl<'a> Diagnosed<'a> {
    pub(super) fn of(seen: &'a Seen, suspect: &Suspect<'a>) -> Self {
        let by_eyes = suspect.defects.first().filter(|defect| defect.found_by == FoundBy::Eyes);
        Self {
            diagnosis: &seen.diagnosis,
            sure_from: suspect.sure_from,
            zone: by_eyes.map(|defect| defect.zone.as_str()),
        }
    }
}

/// Returns what is said about a diagnosis; `looked` is what the language model saw, where it was asked. Advice on what to do comes only with
/// a diagnosis that stands.
pub(super) fn description(
    books: (&Knowledge, &Crops),
    diagnosed: &Diagnosed<'_>,
    looked: Option<&Looked>,
) -> Description {
    let &Diagnosed { diagnosis, sure_from, .. } = diagnosed;
    let is_contradicted = looked.is_some_and(|looked| looked.named != diagnosis.name());
    let description = Description {
        summary: summary(diagnosed, looked),
        signs: Vec::new(),
        how_bad: Vec::new(),
        possible_causes: Vec::new(),
        actions: SECOND_LOOK.map(str::to_owned).to_vec(),
        ask_when: Vec::new(),
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
    if let Some(crop) = crops.entry(code) {
        let label_line = (!diagnosis.is_good).then(|| LABEL_LINE.to_owned());
        return Description {
            signs: crop.symptoms.clone(),
            how_bad: crop.how_bad(),
            possible_causes: crop.favoured_by.clone(),
            actions: crop.actions_now.iter().cloned().chain(label_line).collect(),
            ask_when: crop.when_to_escalate.clone(),
            sources: crop.sources.clone(),
            ..description
        };
    }
    let Some(defect) = knowledge.entry(code) else { return Description { actions: Vec::new(), ..description } };
    Description {
        signs: vec![defect.looks_like.clone()],
        how_bad: defect.how_bad(),
        possible_causes: defect.likely_causes.clone(),
        actions: defect.corrective_actions.clone(),
        sources: defect.sources.clone(),
        ..description
    }
}

/// Returns what was measured and what was seen of one frame as one text. What is known about a diagnosis that stands takes the place of what
/// is known about anomalies.
pub(super) fn joined(measured: Description, seen: Description) -> Description {
    let summary = format!("{} {}", measured.summary, seen.summary);
    let prompt_sha256 = if seen.sees_pixels { &seen.prompt_sha256 } else { &measured.prompt_sha256 }.clone();
    let tokens = |of: fn(&Description) -> u32| of(&measured) + of(&seen);
    let (tokens_in, tokens_out) = (tokens(|text| text.tokens_in), tokens(|text| text.tokens_out));
    let (tokens_forced, sees_pixels) = (tokens(|text| text.tokens_forced), seen.sees_pixels);
    let known = if seen.signs.is_empty() {
        let fresh: Vec<String> = seen.actions.into_iter().filter(|text| !measured.actions.contains(text)).collect();
        Description { actions: measured.actions.into_iter().chain(fresh).collect(), ..measured }
    } else {
        seen
    };
    Description { summary, sees_pixels, prompt_sha256, tokens_in, tokens_out, tokens_forced, ..known }
}

fn summary(&Diagnosed { diagnosis, zone, .. }: &Diagnosed<'_>, looked: Option<&Looked>) -> String {
    let is_contradicted = looked.is_some_and(|looked| looked.named != diagnosis.name());
    let place = match zone.filter(|_| !is_contradicted) {
        Some(zone) => format!(", most of all {}", place(zone)),
        None => String::new(),
    };
    let mut sentences =
        vec![format!("Looks like {} (probability {:.2}){place}.", diagnosis.name(), diagnosis.probability)];
    if let Some(extent) = diagnosis.extent.filter(|_| !is_contradicted) {
        let (share, severity) = (extent.share(), extent.severity.name());
        sentences.push(format!("Discoloured: {share} of the leaf, {severity} by this leaf alone."));
    }
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
    use crate::report::{Extent, LeafSeverity};

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
            shows: None,
            extent: None,
            language_model: None,
        }
    }

    fn described(diagnosis: &Diagnosis, looked: Option<&Looked>) -> Description {
        described_at(None, diagnosis, looked)
    }

    fn described_at(zone: Option<&str>, diagnosis: &Diagnosis, looked: Option<&Looked>) -> Description {
        let books = (&Knowledge::embedded().unwrap(), &Crops::embedded().unwrap());
        description(books, &Diagnosed { diagnosis, sure_from: 0.6, zone }, looked)
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
        assert!(!found.signs.is_empty() && found.how_bad.len() == 3 && !found.ask_when.is_empty());
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
    fn a_place_is_said_in_words() {
        let blight = diagnosis(Some("tomato_early_blight"), "early blight");
        let summary = |zone| described_at(Some(zone), &blight, None).summary;
        assert!(summary("top left").contains("(probability 0.91), most of all at the top left. "));
        assert!(summary("centre").contains("(probability 0.91), most of all in the centre. "));
        let contradicted = looked("potato leaf: healthy");
        let summary = described_at(Some("centre"), &blight, Some(&contradicted)).summary;
        assert!(!summary.contains("most of all"), "{summary}");
    }

    #[test]
    fn how_much_of_the_leaf_is_affected_is_said_where_the_name_stands() {
        let extent = Some(Extent { discoloured_share: 0.178, severity: LeafSeverity::Medium });
        let blight = Diagnosis { extent, ..diagnosis(Some("tomato_early_blight"), "early blight") };
        let expected = "(probability 0.91). Discoloured: about 18 % of the leaf, medium by this leaf alone. Next";
        let summary = described(&blight, None).summary;
        assert!(summary.contains(expected), "{summary}");
        let contradicted = described(&blight, Some(&looked("potato leaf: healthy"))).summary;
        assert!(!contradicted.contains("Discoloured"), "{contradicted}");
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
            assert!(found.possible_causes.is_empty() && found.sources.is_empty() && found.signs.is_empty());
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
