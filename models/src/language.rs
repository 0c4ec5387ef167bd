//! The language model of a bundle: files from the cache, decoder, tokenizer and grammars put together.

use std::{path::Path, sync::Arc};

use crate::{
    ModelError,
    bundle::{Bundle, Role},
    cache::Cache,
    decoder::{DecoderOptions, LlamaDecoder},
    generate::Generator,
    gguf::Gguf,
    grammar::GrammarCompiler,
    tokenizer::{TURN_END, TextTokenizer},
};

/// A language model that is ready to write.
#[derive(Debug)]
pub struct LanguageModel {
    /// Writes texts.
    pub generator: Generator<LlamaDecoder>,
    /// Compiles what texts may look like.
    pub grammars: GrammarCompiler,
}

impl LanguageModel {
    /// Returns the language model of `bundle`.
    ///
    /// # Errors
    /// When a file of the bundle is missing or damaged, or is no model that Loupe can run.
    pub fn open(bundle: &Bundle, cache: &Cache, options: DecoderOptions) -> Result<Self, ModelError> {
        Self::from_gguf(&cache.require(bundle, Role::LanguageModel)?, options)
    }

    /// Returns the language model in the GGUF file `path`.
    ///
    /// # Errors
    /// When the file cannot be read or is no model that Loupe can run.
    pub fn from_gguf(path: &Path, options: DecoderOptions) -> Result<Self, ModelError> {
        let file = Gguf::open(path)?;
        let tokenizer = Arc::new(TextTokenizer::from_gguf(&file, TURN_END)?);
        let grammars = GrammarCompiler::new(Arc::clone(&tokenizer))?;
        let decoder = LlamaDecoder::from_gguf(&file, options)?;
        Ok(Self { generator: Generator::new(decoder, tokenizer), grammars })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use serde_json::{Value, json};

    use super::*;
    use crate::{
        bundle::DEFAULT_BUNDLE,
        generate::{GenerateOptions, Reading},
    };

    #[test]
    fn writes_a_report_that_satisfies_its_schema() {
        let bundle = Bundle::open(DEFAULT_BUNDLE).unwrap();
        let cache = Cache::locate().unwrap();
        let options = DecoderOptions { capacity: 512, threads: 1, ..DecoderOptions::default() };
        let opened = LanguageModel::open(&bundle, &cache, options);
        if matches!(opened, Err(ModelError::MissingFile { .. })) {
            return;
        }
        let mut model = opened.unwrap();
        let schema = json!({
            "type": "object",
            "properties": {"defect": {"enum": ["scratch", "hole"]}, "summary": {"type": "string", "maxLength": 80}},
            "required": ["defect", "summary"],
            "additionalProperties": false,
        });
        let grammar = model.grammars.json(&schema).unwrap();
        let prompt = model.generator.tokenizer().chat("You report defects.", "A casting has a round hole.").unwrap();
        let prompt = Reading::from(prompt);
        let options = GenerateOptions::greedy(24);
        let first = model.generator.generate(&prompt, Some(&grammar), options, &mut &AtomicBool::new(false)).unwrap();
        let report: Value = serde_json::from_str(&first.text).unwrap();
        assert_eq!(report["defect"], "hole", "{}", first.text);
        assert!(first.forced_tokens >= 8 && first.sampled_tokens <= 24, "{first:?}");
        // The same order again reads one token of the prompt and gives the same text.
        let second = model.generator.generate(&prompt, Some(&grammar), options, &mut &AtomicBool::new(false)).unwrap();
        assert_eq!((second.text, second.reused_tokens), (first.text, prompt.len() - 1));
    }
}
