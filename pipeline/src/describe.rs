//! Describe: puts what the gate measured and what trained eyes saw into words. About measurements the language model may choose only
//! how something is said: a grammar made from the facts holds every number, place and name that it can write, and what it wrote is checked
//! against the facts again. Causes and actions come from the knowledge base, never from the model.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use models::{GateReading, hash::sha256};
use serde::Deserialize;

use crate::{
    findings::UNKNOWN_ANOMALY,
    knowledge::{Crops, Entry, Knowledge},
    report::Description,
    stage::{Describe, StageError, Suspect, Words},
};

mod author;
mod check;
mod diagnosed;
mod facts;
mod model_author;
mod phrases;

pub use author::{Author, Looked, Order, Written};
use diagnosed::Diagnosed;
use facts::Facts;
pub use model_author::ModelAuthor;
use phrases::Phrases;
pub(crate) use phrases::place;

/// The kinds of defect whose causes and actions a report lists, strongest first; more would bury the first.
const KINDS_MAX: usize = 2;
/// What remains of the slowest look when a frame had no time for one.
const PATIENCE: f64 = 0.9;
const SYSTEM: &str = "You write short inspection notes for factory operators. State only the facts you are given.";

/// Describes suspect frames with the knowledge base and, where there is one, a language model.
pub struct Describer {
    knowledge: Knowledge,
    crops: Arc<Crops>,
    author: Option<Box<dyn Author>>,
    slowest: Duration,
    slowest_look: Duration,
    rejected: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Answer {
    summary: String,
}

impl std::fmt::Debug for Describer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Describer").field("rejected", &self.rejected).finish_non_exhaustive()
    }
}

impl Describer {
    /// Returns a describer; without an author the first of each choice of words is taken.
    pub fn new((knowledge, crops): (Knowledge, Arc<Crops>), author: Option<Box<dyn Author>>) -> Self {
        Self { knowledge, crops, author, slowest: Duration::ZERO, slowest_look: Duration::ZERO, rejected: 0 }
    }

    /// Returns how many texts of the author were replaced by the plain sentence because they did not hold to the facts.
    pub const fn rejected(&self) -> u64 {
        self.rejected
    }

    /// Returns what the author wrote, when there is one, there is time for it, and its text holds to the facts.
    fn written(&mut self, order: &Order, facts: &Facts, phrases: &Phrases) -> Result<Option<Written>, StageError> {
        let Some(author) = &mut self.author else { return Ok(None) };
        if facts.time_left.is_some_and(|left| left < self.slowest) {
            return Ok(None);
        }
        let started = Instant::now();
        let written = author.write(order)?;
        self.slowest = self.slowest.max(started.elapsed());
        let answer = serde_json::from_str::<Answer>(&written.text).map(|answer| answer.summary);
        let checked = match answer {
            Ok(summary) => check::against(&self.knowledge, facts, phrases, &summary).map(|()| summary),
            Err(error) => Err(format!("no answer in JSON: {error}")),
        };
        match checked {
            Ok(text) => Ok(Some(Written { text, ..written })),
            Err(why) => {
                self.rejected += 1;
                tracing::warn!(rejected = self.rejected, why, "text does not hold to the facts");
                Ok(None)
            }
        }
    }
}

impl Describe for Describer {
    fn looks(&self) -> bool {
        self.author.is_some()
    }

    fn describe(&mut self, suspect: &Suspect<'_>) -> Result<Words, StageError> {
        let started = Instant::now();
        let looked = self.look(suspect);
        let books = (&self.knowledge, &*self.crops);
        let seen =
            suspect.seen.map(|seen| diagnosed::description(books, &Diagnosed::of(seen, suspect), looked.as_ref()));
        let left = suspect.time_left.map(|left| left.saturating_sub(started.elapsed()));
        let measured = suspect
            .reading
            .map(|reading| self.measured(&Suspect { time_left: left, ..*suspect }, reading))
            .transpose()?;
        let description = match (measured, seen) {
            (Some(measured), Some(seen)) => diagnosed::joined(measured, seen),
            (Some(description), None) | (None, Some(description)) => description,
            (None, None) => return Err("nothing was measured or seen".into()),
        };
        let wrote = description.tokens_out > 0;
        let author = self.author.as_ref().filter(|_| wrote).and_then(|author| author.model());
        Ok(Words { description, named: looked.map(|looked| looked.named), author })
    }
}

impl Describer {
    /// Returns what the author sees of the picture itself, when there are eyes for it, there is time, and it can.
    fn look(&mut self, suspect: &Suspect<'_>) -> Option<Looked> {
        let glimpse = suspect.seen.and_then(|seen| seen.glimpse.as_ref())?;
        let author = self.author.as_mut()?;
        if suspect.time_left.is_some_and(|left| left < self.slowest_look) {
            // One slow look must not end all looking.
            self.slowest_look = self.slowest_look.mul_f64(PATIENCE);
            return None;
        }
        let started = Instant::now();
        let looked = author.look(glimpse).inspect_err(|error| tracing::warn!(%error, "the language model saw nothing"));
        self.slowest_look = self.slowest_look.max(started.elapsed());
        looked.ok().flatten()
    }

    /// Returns the words for what a gate measured.
    fn measured(&mut self, suspect: &Suspect<'_>, reading: &GateReading) -> Result<Description, StageError> {
        let facts = Facts::of(suspect, reading);
        let kinds = kinds(&self.knowledge, suspect);
        let phrases = Phrases::of(&facts, kinds.first().copied(), &self.knowledge);
        let order = Order { system: SYSTEM.to_owned(), user: facts.prompt(), pattern: phrases.pattern() };
        let gather = |part: fn(&Entry) -> &[String]| unique(kinds.iter().flat_map(|entry| part(entry)));
        let mut description = Description {
            summary: phrases.plain(),
            signs: kinds.iter().map(|entry| entry.looks_like.clone()).collect(),
            how_bad: kinds.first().map(|entry| entry.how_bad()).unwrap_or_default(),
            possible_causes: gather(|entry| &entry.likely_causes),
            actions: gather(|entry| &entry.corrective_actions),
            ask_when: Vec::new(),
            sources: gather(|entry| &entry.sources),
            sees_pixels: false,
            prompt_sha256: fingerprint(&order),
            tokens_in: 0,
            tokens_out: 0,
            tokens_forced: 0,
        };
        if let Some(written) = self.written(&order, &facts, &phrases)? {
            description.summary = written.text;
            description.tokens_in = written.tokens_in;
            description.tokens_out = written.tokens_out;
            description.tokens_forced = written.tokens_forced;
        }
        Ok(description)
    }
}

fn kinds<'a>(knowledge: &'a Knowledge, suspect: &Suspect<'_>) -> Vec<&'a Entry> {
    let codes = unique(suspect.defects.iter().map(|defect| &defect.code));
    let mut kinds: Vec<&Entry> = codes.iter().filter_map(|code| knowledge.entry(code)).take(KINDS_MAX).collect();
    if kinds.is_empty() {
        kinds.extend(knowledge.entry(UNKNOWN_ANOMALY));
    }
    kinds
}

fn unique<'a>(texts: impl Iterator<Item = &'a String>) -> Vec<String> {
    let mut seen = BTreeSet::new();
    texts.filter(|text| seen.insert(text.as_str())).cloned().collect()
}

fn fingerprint(order: &Order) -> String {
    sha256(format!("{}\n{}\n{}", order.system, order.user, order.pattern))
}

#[cfg(test)]
mod tests;
