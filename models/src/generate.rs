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
    decoder::{Adapter, Input, LlamaDecoder, TextDecoder},
    grammar::Grammar,
    tokenizer::TextTokenizer,
};

mod draft;
mod reading;
mod sampling;

use draft::Draft;
use reading::Element;
pub use reading::{FrameFeatures, PlacedFeatures, Reading};
pub use sampling::Sampling;

/// How a text is generated.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GenerateOptions {
    /// Tokens that the model chooses at most. What a grammar forces is not counted, nor is what closes a text when the
    /// budget has run out: neither takes a step of the model of its own.
    pub max_new_tokens: usize,
    /// How a token is chosen from its probabilities.
    pub sampling: Sampling,
    /// What the wish for tokens that were read or written before is divided by; 1 changes nothing, 1.1 to 1.3 ends the
    /// loops that small models fall into (Keskar et al., arXiv 1909.05858, section 4.1).
    pub repetition_penalty: f32,
}

impl GenerateOptions {
    /// Returns options under which the likeliest of at most `max_new_tokens` tokens are chosen.
    pub const fn greedy(max_new_tokens: usize) -> Self {
        Self { max_new_tokens, sampling: Sampling::Greedy, repetition_penalty: 1.0 }
    }
}

/// Who looks on while a text is written.
pub trait Watch {
    /// Returns whether to stop; asked before each step of the model.
    fn is_cancelled(&self) -> bool;

    /// Is told the tokens that were just appended, chosen and forced.
    fn appended(&mut self, ids: &[u32]) {
        _ = ids;
    }
}

impl Watch for &AtomicBool {
    fn is_cancelled(&self) -> bool {
        self.load(Ordering::Relaxed)
    }
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

impl Generation {
    /// Returns the tokens a second that were written after the first, which comes with the prompt; 0 where there are none.
    pub fn tokens_per_s(&self) -> f64 {
        let (steps, seconds) = (self.ids.len().saturating_sub(1) as f64, self.decode.as_secs_f64());
        if seconds > 0.0 { steps / seconds } else { 0.0 }
    }
}

/// A decoder and its tokenizer, with memory of what the decoder has read.
#[derive(Debug)]
pub struct Generator<D> {
    decoder: D,
    tokenizer: Arc<TextTokenizer>,
    resident: Vec<Element>,
}

impl Generator<LlamaDecoder> {
    /// Writes with `adapter` from now on, or with the weights alone, see [`LlamaDecoder::adapt`].
    ///
    /// # Errors
    /// When the adapter does not fit the decoder; nothing changes then.
    pub fn adapt(&mut self, adapter: Option<Arc<Adapter>>) -> Result<(), ModelError> {
        let is_same = match (self.decoder.adapter(), &adapter) {
            (Some(old), Some(new)) => Arc::ptr_eq(old, new),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        if is_same {
            return Ok(());
        }
        self.decoder.adapt(adapter)?;
        self.resident.clear();
        Ok(())
    }
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
    pub fn logits(&mut self, prompt: &Reading) -> Result<&[f32], ModelError> {
        let start = self.reuse(prompt);
        self.read_from(prompt, start)
    }

    /// Returns the logits of tokens `ids` after `prompt`, minus infinity for those that the decoder does not have. Other than with
    /// [`Self::logits`], the greatest 32 of them are never approximated.
    ///
    /// # Errors
    /// As [`Self::logits`].
    pub fn logits_of(&mut self, prompt: &Reading, ids: &[u32]) -> Result<Vec<f32>, ModelError> {
        let logits = self.logits(prompt)?;
        let mut asked = vec![f32::NEG_INFINITY; logits.len()];
        for &id in ids {
            if let (Some(asked), Some(logit)) = (asked.get_mut(id as usize), logits.get(id as usize)) {
                *asked = *logit;
            }
        }
        self.decoder.sharpen(&mut asked);
        Ok(ids.iter().map(|&id| asked.get(id as usize).copied().unwrap_or(f32::NEG_INFINITY)).collect())
    }

    /// Returns what follows `prompt`. Under a grammar the text always satisfies it, however it ended.
    ///
    /// # Errors
    /// When the prompt is empty or does not fit the decoder, the grammar has no end, or the decoder fails.
    pub fn generate(
        &mut self,
        prompt: &Reading,
        grammar: Option<&Grammar>,
        options: GenerateOptions,
        watch: &mut dyn Watch,
    ) -> Result<Generation, ModelError> {
        let started = Instant::now();
        let reused_tokens = self.reuse(prompt);
        let mut draft = Draft::new((prompt, grammar), options, watch);
        let forced = draft.force();
        let mut opening = prompt.clone();
        opening.extend(&forced);
        let mut logits = self.read_from(&opening, reused_tokens)?.to_vec();
        let prefill = started.elapsed();
        let stop = loop {
            if let Some(stop) = draft.must_stop() {
                break stop;
            }
            if draft.restrict(&mut logits)? {
                self.decoder.sharpen(&mut logits);
            }
            let fresh = draft.choose(&mut logits, &self.tokenizer)?;
            if fresh.is_empty() {
                break Stop::EndOfTurn;
            }
            if draft.is_finished() {
                break Stop::Complete;
            }
            // The logits of one more step would be for nobody.
            if draft.is_spent() || self.resident.len() + fresh.len() > self.decoder.capacity() {
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
    fn reuse(&mut self, prompt: &Reading) -> usize {
        let shared = self.resident.iter().zip(&prompt.elements()).take_while(|(old, new)| old == new).count();
        let kept = shared.min(prompt.len().saturating_sub(1));
        self.decoder.truncate(kept);
        self.resident.truncate(kept);
        kept
    }

    fn read(&mut self, tokens: &[u32]) -> Result<&[f32], ModelError> {
        let logits = self.decoder.extend(Input::Tokens(tokens))?;
        self.resident.extend(tokens.iter().copied().map(Element::Token));
        Ok(logits)
    }

    /// Reads what `prompt` holds from position `start` on, in one go.
    fn read_from(&mut self, prompt: &Reading, start: usize) -> Result<&[f32], ModelError> {
        if !prompt.has_images_from(start) {
            return self.read(&prompt.ids()[start..]);
        }
        let rows = prompt.embeddings(start, &self.decoder)?;
        let logits = self.decoder.extend(Input::Embeddings(&rows))?;
        self.resident.extend_from_slice(&prompt.elements()[start..]);
        Ok(logits)
    }
}

#[cfg(test)]
mod tests;
