//! The check of a written text against the facts: a second look that does not trust the grammar.

use super::{facts::Facts, phrases::Phrases};
use crate::knowledge::Knowledge;

/// Zones as reports name them, longer ones before those that they contain.
const ZONES: [&str; 10] = [
    "top left",
    "top right",
    "bottom left",
    "bottom right",
    "whole picture",
    "centre",
    "top",
    "bottom",
    "left",
    "right",
];
const LENGTH_MAX: usize = 600;

/// Refuses a text with a number, a place or the name of a defect that is not among the facts; says which.
pub(super) fn against(knowledge: &Knowledge, facts: &Facts, phrases: &Phrases, text: &str) -> Result<(), String> {
    if text.trim().is_empty() || text.len() > LENGTH_MAX {
        return Err(format!("expected a text of 1 to {LENGTH_MAX} bytes, found {}", text.len()));
    }
    // What the knowledge base says may name other defects and contain numbers of its own.
    let quoted = phrases.quoted.iter().map(|quote| quote.to_lowercase());
    // So may the name of a user's class: `type 2, top`.
    let label = facts.main.iter().filter_map(|area| area.label.as_deref()).map(str::to_lowercase);
    let unquoted = quoted.fold(text.to_lowercase(), |text, quote| text.replace(&quote, ""));
    let own_words = label.fold(unquoted.clone(), |text, label| text.replace(&label, ""));
    let measured = facts.numbers();
    if let Some(number) = numbers(&own_words).into_iter().find(|number| !measured.contains(number)) {
        return Err(format!("the number {number} was not measured"));
    }
    if let Some(zone) = zones(&own_words).into_iter().find(|zone| !is_marked(facts, zone)) {
        return Err(format!("nothing is marked at {zone}"));
    }
    let found = facts.main.as_ref().and_then(|area| area.label.as_deref()).unwrap_or("unknown anomaly");
    let named = |label: &str| label != found && !found.contains(label) && contains_words(&unquoted, label);
    match knowledge.entries.iter().find(|entry| named(&entry.label)) {
        Some(entry) => Err(format!("{} was not found", entry.label)),
        None => Ok(()),
    }
}

/// Returns every number in `text`, digits and a decimal point.
pub(super) fn numbers(text: &str) -> Vec<String> {
    let parts = text.split(|c: char| !c.is_ascii_digit() && c != '.').map(|part| part.trim_matches('.'));
    parts.filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

fn zones(text: &str) -> Vec<&'static str> {
    let mut left = text.replace("whole picture does not", "").replace("picture as a whole", "");
    let mut found = Vec::new();
    for zone in ZONES {
        if contains_words(&left, zone) {
            found.push(zone);
            left = left.replace(zone, "");
        }
    }
    found
}

fn is_marked(facts: &Facts, zone: &str) -> bool {
    facts.main.iter().any(|area| area.zone == zone) || facts.other_zones.iter().any(|other| other == zone)
}

fn contains_words(text: &str, words: &str) -> bool {
    text.match_indices(words).any(|(start, _)| {
        let before = text[..start].chars().next_back();
        let after = text[start + words.len()..].chars().next();
        !before.is_some_and(char::is_alphanumeric) && !after.is_some_and(char::is_alphanumeric)
    })
}
