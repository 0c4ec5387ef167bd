//! Generates text: samples under a grammar, appends what the grammar forces without sampling, keeps a common prefix.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use crate::{
    ModelError,
    decoder::{Input, TextDecoder},
    grammar::{Grammar, GrammarState},
    tokenizer::TextTokenizer,
};

mod sampling;

use sampling::Sampler;
pub use sampling::Sampling;

/// How a text is generated.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GenerateOptions {
    /// Tokens that the model chooses at most. What a grammar forces is not counted, nor is what closes a text when the
    /// budget has run out: neither takes a step of the model of its own.
    pub max_new_tokens: usize,
    /// How a token is chosen from its probabilities.
    pub sampling: Sampling,
}

/// Why a text ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// The model ended its turn.
    EndOfTurn,
    /// The grammar allows nothing more.
    Complete,
    /// The budget or the decoder's capacity ran out; under a grammar, the text was closed as shortly as possible.
    Budget,
    /// The caller cancelled; under a grammar, the text was closed as shortly as possible.
    Cancelled,
}

/// A generated text and what it took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Generation {
    /// The text.
    pub text: String,
    /// Its tokens, without the one that ends a turn.
    pub ids: Vec<u32>,
    /// Why it ended.
    pub stop: Stop,
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    /// Tokens of the prompt that were still in the cache from the call before.
    pub reused_tokens: usize,
    /// Tokens that the model chose.
    pub sampled_tokens: usize,
    /// Tokens that the grammar forced or that closed the text.
    pub forced_tokens: usize,
    /// Time until the first choice.
    pub prefill: Duration,
    /// Time from there to the end.
    pub decode: Duration,
}

/// A decoder and its tokenizer, with memory of what the decoder has read.
#[derive(Debug)]
pub struct Generator<D> {
    decoder: D,
    tokenizer: Arc<TextTokenizer>,
    resident: Vec<u32>,
}

/// A text under way.
struct Draft<'a> {
    state: Option<GrammarState>,
    sampler: Sampler,
    cancelled: &'a AtomicBool,
    ids: Vec<u32>,
    sampled: usize,
    budget: usize,
}

impl<D: TextDecoder> Generator<D> {
    /// Returns a generator whose decoder has read nothing that matters.
    pub fn new(mut decoder: D, tokenizer: Arc<TextTokenizer>) -> Self {
        decoder.truncate(0);
        Self { decoder, tokenizer, resident: Vec::new() }
    }

    /// Returns the tokenizer.
    pub fn tokenizer(&self) -> &Arc<TextTokenizer> {
        &self.tokenizer
    }

    /// Returns the logits `[vocabulary]` of the token that follows `prompt`. What `prompt` shares with the text before it
    /// is not computed again.
    ///
    /// # Errors
    /// When the prompt is empty, does not fit the decoder, or the decoder fails.
    pub fn logits(&mut self, prompt: &[u32]) -> Result<&[f32], ModelError> {
        self.reuse(prompt);
        let start = self.resident.len();
        self.read(&prompt[start..])
    }

    /// Returns what follows `prompt`. Under a grammar the text always satisfies it, however it ended.
    ///
    /// # Errors
    /// When the prompt is empty or does not fit the decoder, the grammar has no end, or the decoder fails.
    pub fn generate(
        &mut self,
        prompt: &[u32],
        grammar: Option<&Grammar>,
        options: GenerateOptions,
        cancelled: &AtomicBool,
    ) -> Result<Generation, ModelError> {
        let started = Instant::now();
        let reused_tokens = self.reuse(prompt);
        let mut draft = Draft::new(grammar, options, cancelled);
        let forced = draft.force();
        let mut logits = self.read(&[&prompt[reused_tokens..], &forced].concat())?.to_vec();
        let prefill = started.elapsed();
        let stop = loop {
            if let Some(stop) = draft.must_stop() {
                break stop;
            }
            let fresh = draft.choose(&mut logits, &self.tokenizer)?;
            if fresh.is_empty() {
                break Stop::EndOfTurn;
            }
            if draft.is_finished() {
                break Stop::Complete;
            }
            if self.resident.len() + fresh.len() > self.decoder.capacity() {
                break Stop::Budget;
            }
            logits.copy_from_slice(self.read(&fresh)?);
        };
        let ids = draft.finish()?;
        Ok(Generation {
            text: self.tokenizer.decode(&ids.all),
            stop,
            prompt_tokens: prompt.len(),
            reused_tokens,
            sampled_tokens: ids.sampled,
            forced_tokens: ids.all.len() - ids.sampled,
            ids: ids.all,
            prefill,
            decode: started.elapsed().saturating_sub(prefill),
        })
    }

    /// Makes the decoder forget what `prompt` does not start with; returns how many of its tokens remain. At least one token
    /// is left to read, because its logits are wanted.
    fn reuse(&mut self, prompt: &[u32]) -> usize {
        let shared = self.resident.iter().zip(prompt).take_while(|(old, new)| old == new).count();
        let kept = shared.min(prompt.len().saturating_sub(1));
        self.decoder.truncate(kept);
        self.resident.truncate(kept);
        kept
    }

    fn read(&mut self, tokens: &[u32]) -> Result<&[f32], ModelError> {
        let logits = self.decoder.extend(Input::Tokens(tokens))?;
        self.resident.extend_from_slice(tokens);
        Ok(logits)
    }
}

struct Finished {
    all: Vec<u32>,
    sampled: usize,
}

impl<'a> Draft<'a> {
    fn new(grammar: Option<&Grammar>, options: GenerateOptions, cancelled: &'a AtomicBool) -> Self {
        Self {
            state: grammar.map(Grammar::start),
            sampler: Sampler::new(options.sampling),
            cancelled,
            ids: Vec::new(),
            sampled: 0,
            budget: options.max_new_tokens,
        }
    }

    /// Appends and returns what the grammar forces now.
    fn force(&mut self) -> Vec<u32> {
        let forced = self.state.as_mut().map(GrammarState::consume_forced).unwrap_or_default();
        self.ids.extend_from_slice(&forced);
        forced
    }

    fn is_finished(&self) -> bool {
        self.state.as_ref().is_some_and(GrammarState::is_finished)
    }

    fn must_stop(&self) -> Option<Stop> {
        if self.is_finished() {
            Some(Stop::Complete)
        } else if self.cancelled.load(Ordering::Relaxed) {
            Some(Stop::Cancelled)
        } else {
            (self.sampled >= self.budget).then_some(Stop::Budget)
        }
    }

    /// Chooses a token and appends it with all that the grammar then forces; returns what was appended, nothing at the
    /// end of the turn.
    fn choose(&mut self, logits: &mut [f32], tokenizer: &TextTokenizer) -> Result<Vec<u32>, ModelError> {
        if let Some(state) = &mut self.state {
            let allowed = state.allowed()?;
            allowed.iter_unset_entries(|id| logits.get_mut(id).map_or((), |logit| *logit = f32::NEG_INFINITY));
        }
        let token = self.sampler.choose(logits);
        if token == tokenizer.end_of_turn() {
            return Ok(Vec::new());
        }
        if let Some(state) = &mut self.state {
            state.consume(token)?;
        }
        self.sampled += 1;
        self.ids.push(token);
        let mut fresh = vec![token];
        fresh.extend(self.force());
        Ok(fresh)
    }

    /// Closes the text where a grammar is not yet satisfied.
    fn finish(mut self) -> Result<Finished, ModelError> {
        if let Some(state) = &mut self.state {
            self.ids.extend(state.close()?);
        }
        Ok(Finished { all: self.ids, sampled: self.sampled })
    }
}

#[cfg(test)]
mod tests;
