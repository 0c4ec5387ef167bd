//! A language model as author, under a grammar.

use std::sync::atomic::AtomicBool;

use models::{domain::Look, generate::GenerateOptions, language::LanguageModel};
use serde_json::json;

use super::author::{Author, Looked, Order, Written};
use crate::{diagnosis::Glimpse, report::ModelUse, stage::StageError};

/// Tokens that the model may choose for one text; what the grammar forces is not counted.
const BUDGET_TOKENS: usize = 48;

/// A language model as author: greedy, so that the same facts give the same text.
#[derive(Debug)]
pub struct ModelAuthor {
    model: LanguageModel,
    about: ModelUse,
    /// Pictures that it has looked at; numbers them, so that no two have the same key.
    looked: u128,
}

impl ModelAuthor {
    /// Returns the author that writes with `model`, whose capacity should be 512 tokens or more, and which reports name as in `about`.
    pub const fn new(model: LanguageModel, about: ModelUse) -> Self {
        Self { model, about, looked: 0 }
    }
}

impl Author for ModelAuthor {
    fn model(&self) -> Option<ModelUse> {
        Some(self.about.clone())
    }

    fn look(&mut self, Glimpse { domain, sight, facts }: &Glimpse) -> Result<Option<Looked>, StageError> {
        self.looked += 1;
        let answer = domain.ask(&mut self.model, Look { sight, frame_key: self.looked, facts })?;
        Ok(Some(Looked {
            named: domain.labels()[answer.label].text(),
            prompt_sha256: answer.prompt_sha256,
            tokens_in: answer.tokens_in as u32,
            tokens_out: answer.tokens_out as u32,
            tokens_forced: answer.tokens_forced as u32,
        }))
    }

    fn write(&mut self, order: &Order) -> Result<Written, StageError> {
        let LanguageModel { generator, grammars } = &mut self.model;
        generator.adapt(None)?;
        let schema = json!({
            "type": "object",
            "properties": { "summary": { "type": "string", "pattern": format!("^{}$", order.pattern) } },
            "required": ["summary"],
            "additionalProperties": false,
        });
        let grammar = grammars.json(&schema)?;
        let prompt = generator.tokenizer().chat(&order.system, &order.user)?;
        let options = GenerateOptions::greedy(BUDGET_TOKENS);
        let generation = generator.generate(&prompt.into(), Some(&grammar), options, &mut &AtomicBool::new(false))?;
        Ok(Written {
            tokens_in: generation.prompt_tokens as u32,
            tokens_out: generation.ids.len() as u32,
            tokens_forced: generation.forced_tokens as u32,
            text: generation.text,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write as _};

    use models::{
        bundle::{Bundle, Role},
        cache::Cache,
        decoder::DecoderOptions,
    };

    use super::*;

    /// Returns the author with the model in the cache; says why not otherwise.
    fn author() -> Option<ModelAuthor> {
        let bundle = Bundle::embedded().unwrap();
        let cache = Cache::locate().unwrap();
        if let Err(error) = cache.require(&bundle, Role::LanguageModel) {
            writeln!(io::stderr(), "skipped: {error}").unwrap();
            return None;
        }
        let options = DecoderOptions { capacity: 512, ..DecoderOptions::default() };
        let about = ModelUse {
            role: "language".to_owned(),
            name: "parrot".to_owned(),
            sha256: "0".repeat(64),
            runtime: "loupe cpu".to_owned(),
            precision: "q8_0".to_owned(),
        };
        Some(ModelAuthor::new(LanguageModel::open(&bundle, &cache, options).unwrap(), about))
    }

    #[test]
    fn the_model_keeps_to_the_pattern() {
        let Some(mut author) = author() else { return };
        let order = Order {
            system: "You write short inspection notes for factory operators.".to_owned(),
            user: "Suspected type: missing \"M3\" screw\nWrite the note.".to_owned(),
            pattern: r#"(?:Suspected|Possible) missing "M3" screw(?: \(41 x 39 px\)|, 41 x 39 px)\."#.to_owned(),
        };
        let written = author.write(&order).unwrap();
        let answer: serde_json::Value = serde_json::from_str(&written.text).unwrap();
        let summary = answer["summary"].as_str().unwrap();
        let choices = ["Suspected", "Possible"].into_iter().flat_map(|first| {
            [" (41 x 39 px).", ", 41 x 39 px."].map(|last| format!("{first} missing \"M3\" screw{last}"))
        });
        assert!(choices.into_iter().any(|choice| choice == summary), "{summary}");
        assert!(written.tokens_forced > 0 && written.tokens_forced < written.tokens_out, "{written:?}");
        assert_eq!(author.write(&order).unwrap(), written, "the same facts give the same text");
    }
}
