use crate::{
    ModelError,
    grammar::{Grammar, GrammarState},
    tokenizer::TextTokenizer,
};

use super::{
    GenerateOptions, Reading, Stop, Watch,
    sampling::{Repetition, Sampler},
};

/// A text under way.
pub(super) struct Draft<'a> {
    state: Option<GrammarState>,
    sampler: Sampler,
    watch: &'a mut dyn Watch,
    ids: Vec<u32>,
    sampled: usize,
    budget: usize,
}

pub(super) struct Finished {
    pub(super) all: Vec<u32>,
    pub(super) sampled: usize,
}

impl<'a> Draft<'a> {
    pub(super) fn new(
        (prompt, grammar): (&Reading, Option<&Grammar>),
        options: GenerateOptions,
        watch: &'a mut dyn Watch,
    ) -> Self {
        Self {
            state: grammar.map(Grammar::start),
            sampler: Sampler::new(options.sampling, Repetition::new(options.repetition_penalty, prompt.ids())),
            watch,
            ids: Vec::new(),
            sampled: 0,
            budget: options.max_new_tokens,
        }
    }

    /// Appends and returns what the grammar forces now.
    pub(super) fn force(&mut self) -> Vec<u32> {
        let forced = self.state.as_mut().map(GrammarState::consume_forced).unwrap_or_default();
        self.append(&forced);
        forced
    }

    fn append(&mut self, ids: &[u32]) {
        self.ids.extend_from_slice(ids);
        self.sampler.note(ids);
        if !ids.is_empty() {
            self.watch.appended(ids);
        }
    }

    pub(super) fn is_finished(&self) -> bool {
        self.state.as_ref().is_some_and(GrammarState::is_finished)
    }

    pub(super) fn is_spent(&self) -> bool {
        self.sampled >= self.budget
    }

    pub(super) fn must_stop(&self) -> Option<Stop> {
        if self.is_finished() {
            Some(Stop::Complete)
        } else if self.watch.is_cancelled() {
            Some(Stop::Cancelled)
        } else {
            self.is_spent().then_some(Stop::Budget)
        }
    }

    /// Strikes out what the grammar does not allow; returns whether there is one.
    pub(super) fn restrict(&mut self, logits: &mut [f32]) -> Result<bool, ModelError> {
        let Some(state) = &mut self.state else { return Ok(false) };
        let allowed = state.allowed()?;
        allowed.iter_unset_entries(|id| logits.get_mut(id).map_or((), |logit| *logit = f32::NEG_INFINITY));
        Ok(true)
    }

    /// Chooses a token and appends it with all that the grammar then forces; returns what was appended, nothing at the
    /// end of the turn.
    pub(super) fn choose(&mut self, logits: &mut [f32], tokenizer: &TextTokenizer) -> Result<Vec<u32>, ModelError> {
        self.sampler.discourage(logits);
        let token = self.sampler.choose(logits);
        if token == tokenizer.end_of_turn() {
            return Ok(Vec::new());
        }
        if let Some(state) = &mut self.state {
            state.consume(token)?;
        }
        self.sampled += 1;
        self.append(&[token]);
        let mut fresh = vec![token];
        fresh.extend(self.force());
        Ok(fresh)
    }

    /// Closes the text where a grammar is not yet satisfied.
    pub(super) fn finish(mut self) -> Result<Finished, ModelError> {
        if let Some(state) = &mut self.state {
            let closing = state.close()?;
            self.append(&closing);
        }
        Ok(Finished { all: self.ids, sampled: self.sampled })
    }
}
