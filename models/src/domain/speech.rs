//! The language model of a domain: reads image tokens and a question, and answers with one of the domain's labels.

use std::sync::{Arc, atomic::AtomicBool};

use serde::Serialize;

use crate::{
    ModelError, Sight,
    generate::{FrameFeatures, GenerateOptions, PlacedFeatures, Reading, Stop},
    hash::sha256,
    language::LanguageModel,
};

use super::{Domain, Label};

/// What the language model answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Index of the label that it named.
    pub label: usize,
    /// Its words, one line of JSON.
    pub text: String,
    /// SHA-256 of the domain's file and question, lower-case hexadecimal.
    pub prompt_sha256: String,
    /// Prompt tokens, those of the picture included.
    pub tokens_in: usize,
    /// Tokens of the answer, forced ones included.
    pub tokens_out: usize,
    /// Tokens of the answer that the grammar forced.
    pub tokens_forced: usize,
}

/// What the language model is asked about.
#[derive(Debug, Clone, Copy)]
pub struct Look<'a> {
    /// What the domain's eyes saw of a frame.
    pub sight: &'a Sight,
    /// Tells frames apart.
    pub frame_key: u128,
    /// What is said of the frame before the question. Empty for reports: it was trained to look, not to read.
    pub facts: &'a str,
}

impl Label {
    /// Returns what the language model writes to name it, one line of JSON as it was trained to write it.
    pub fn answer(&self) -> String {
        #[derive(Serialize)]
        struct Words<'a> {
            subject: &'a str,
            finding: &'a str,
        }
        let words = Words { subject: &self.subject, finding: &self.finding };
        serde_json::to_string(&words).unwrap_or_default()
    }
}

impl Domain {
    /// Returns what `model` answers about a frame.
    ///
    /// # Errors
    /// When the domain does not [speak](Self::speaks) or does not fit the model, or the model fails.
    pub fn ask(&self, model: &mut LanguageModel, look: Look<'_>) -> Result<Answer, ModelError> {
        let Look { sight, frame_key, facts } = look;
        let question =
            [facts, &self.question].into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>().join("\n");
        let LanguageModel { generator, grammars } = model;
        let tongue = self.tongue.as_ref();
        let tongue =
            tongue.ok_or_else(|| ModelError::mismatch(&self.name, "a domain with a connector", "one without"))?;
        generator.adapt(Some(Arc::clone(&tongue.adapter)))?;
        let answers: Vec<String> = self.labels.iter().map(Label::answer).collect();
        let grammar = grammars.one_of(&answers)?;
        let (ids, at) = generator.tokenizer().ask(sight.cells.rows * sight.cells.cols, &question)?;
        let features = Arc::new(FrameFeatures { key: frame_key, rows: sight.tokens.clone() });
        let prompt = Reading::new(ids, vec![PlacedFeatures { at, features }])?;
        let longest = answers.iter().map(String::len).max().unwrap_or_default();
        let options = GenerateOptions::greedy(longest);
        let written = generator.generate(&prompt, Some(&grammar), options, &mut &AtomicBool::new(false))?;
        if written.stop != Stop::Complete {
            // What closes a text that ran out of room is not the model's choice.
            return Err(ModelError::mismatch(
                "answer",
                "room for a whole label",
                format!("{:?} after {}", written.stop, written.text),
            ));
        }
        let label = answers.iter().position(|answer| *answer == written.text);
        let label = label.ok_or_else(|| ModelError::mismatch("answer", "one of the domain's labels", &written.text))?;
        Ok(Answer {
            label,
            prompt_sha256: sha256(format!("{}\n{}", self.sha256, question)),
            tokens_in: written.prompt_tokens,
            tokens_out: written.ids.len(),
            tokens_forced: written.forced_tokens,
            text: written.text,
        })
    }
}
