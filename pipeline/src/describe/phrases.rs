//! The ways in which the facts may be said: slots in a row, each with its choices. Every choice is true, so that every path
//! through them is a true text; which one reads best is the language model's part.

use crate::knowledge::{Entry, Knowledge};

use super::facts::{Area, Facts};

/// Look-alikes and measures that are offered for the last sentence.
const HINTS_EACH: usize = 2;

/// A text with choices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Phrases {
    slots: Vec<Vec<String>>,
    /// Texts from the knowledge base that the choices quote.
    pub(super) quoted: Vec<String>,
}

impl Phrases {
    /// Returns the ways to say `facts`; hints for the next look come from `kind`.
    pub(super) fn of(facts: &Facts, kind: Option<&Entry>, knowledge: &Knowledge) -> Self {
        let mut slots = match &facts.main {
            Some(area) => finding(area),
            None => vec![vec![
                "The picture as a whole differs from the good samples.".to_owned(),
                "The whole picture does not match the good samples.".to_owned(),
            ]],
        };
        slots.extend(others(facts));
        slots.extend(score(facts));
        let (hints, quoted) = kind.map(|entry| hints(entry, knowledge)).unwrap_or_default();
        if !hints.is_empty() {
            slots.push(hints);
        }
        Self { slots, quoted }
    }

    /// Returns the text of first choices.
    pub(super) fn plain(&self) -> String {
        self.slots.iter().filter_map(|choices| choices.first()).map(String::as_str).collect()
    }

    /// Returns the regular expression that every text of this kind matches, and no other.
    pub(super) fn pattern(&self) -> String {
        let slot = |choices: &Vec<String>| {
            let choices: Vec<String> = choices.iter().map(|choice| escape(choice)).collect();
            format!("(?:{})", choices.join("|"))
        };
        self.slots.iter().map(slot).collect()
    }
}

fn finding(area: &Area) -> Vec<Vec<String>> {
    let Area { label, zone, size, share } = area;
    let place = place(zone);
    let opening = match label {
        Some(label) => vec![format!("Suspected {label} {place}"), format!("Possible {label} {place}")],
        None => vec![
            format!("An area {place} differs from the good samples"),
            format!("Something {place} does not match the good samples"),
            format!("Unknown anomaly {place}"),
        ],
    };
    let measured = vec![format!(", {size}, {share} of the picture."), format!(" ({size}, {share} of the picture).")];
    vec![opening, measured]
}

fn others(facts: &Facts) -> Option<Vec<String>> {
    let count = facts.count;
    if count < 2 {
        return None;
    }
    let places: Vec<String> = facts.other_zones.iter().map(|zone| place(zone)).collect();
    let more = match places.as_slice() {
        [] => String::new(),
        [one] => format!("; look also {one}"),
        [first, rest @ ..] => format!("; look also {first} and {}", rest.join(", ")),
    };
    Some(vec![
        format!(" It is the strongest of {count} marked areas{more}."),
        format!(" {count} areas are marked{more}."),
    ])
}

fn score(facts: &Facts) -> Option<Vec<String>> {
    let times = facts.times_limit.as_ref()?;
    let rarely = match &facts.good_percent {
        Some(percent) => format!("; good parts score so high in at most {percent} of cases"),
        None => String::new(),
    };
    Some(vec![
        format!(" The score is {times} times the limit for good parts{rarely}."),
        format!(" It scores {times} times the limit{rarely}."),
    ])
}

fn hints(entry: &Entry, knowledge: &Knowledge) -> (Vec<String>, Vec<String>) {
    let bare = |text: &str| text.trim_end_matches(['.', '?']).to_owned();
    let measures: Vec<String> = entry.measure.iter().take(HINTS_EACH).map(|what| bare(what)).collect();
    let look_alikes: Vec<String> = knowledge.look_alikes(entry).take(HINTS_EACH).map(bare).collect();
    // A colon before each list: the quotes are noun phrases without articles.
    let hints = vec![
        format!(" To confirm, check: {}.", measures.join("; ")),
        format!(" Easily confused with: {}.", look_alikes.join("; ")),
        format!(" Check whether it is one of these instead: {}.", look_alikes.join("; ")),
    ];
    (hints, measures.into_iter().chain(look_alikes).collect())
}

/// Returns a zone with the words that lead to it.
pub(crate) fn place(zone: &str) -> String {
    match zone {
        "centre" => "in the centre".to_owned(),
        "whole picture" => "across the whole picture".to_owned(),
        _ => format!("at the {zone}"),
    }
}

fn escape(text: &str) -> String {
    let special = |c: char| "\\.+*?()|[]{}^$#&-~/".contains(c);
    text.chars().fold(String::new(), |escaped, c| {
        let escaped = if special(c) { escaped + "\\" } else { escaped };
        escaped + c.encode_utf8(&mut [0; 4])
    })
}
