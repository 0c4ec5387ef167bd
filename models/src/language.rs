//! The language model of a bundle: files from the cache, decoder, tokenizer and grammars put together.

use std::sync::Arc;

use crate::{
    ModelError,
    bundle::{Bundle, Role},
    cache::Cache,
    decoder::{DecoderFiles, DecoderOptions, OrtDecoder},
    generate::Generator,
    gguf::Gguf,
    grammar::GrammarCompiler,
    ort_engine::OrtEngine,
    tokenizer::TextTokenizer,
};

/// Folder of the cache for graphs that Loupe has built.
const GRAPHS: &str = "graphs";

/// A language model that is ready to write.
#[derive(Debug)]
pub struct LanguageModel {
    /// Writes texts.
    pub generator: Generator<OrtDecoder>,
    /// Compiles what texts may look like.
    pub grammars: GrammarCompiler,
}

impl LanguageModel {
    /// Returns the language model of `bundle`. The first call for a model file builds its graph, which takes a second or two
    /// and 160 MB of the cache.
    ///
    /// # Errors
    /// When a file of the bundle is missing or damaged, is no model that Loupe can run, or the cache cannot be written.
    pub fn open(
        engine: &OrtEngine,
        bundle: &Bundle,
        cache: &Cache,
        options: DecoderOptions,
    ) -> Result<Self, ModelError> {
        let file = Arc::new(Gguf::open(&cache.require(bundle, Role::LanguageModel)?)?);
        let tokenizer = Arc::new(TextTokenizer::from_gguf(&file)?);
        let grammars = GrammarCompiler::new(Arc::clone(&tokenizer))?;
        let sha256 = &bundle.file(Role::LanguageModel)?.sha256;
        let files = DecoderFiles { sha256, graphs: &cache.root().join(GRAPHS) };
        let decoder = OrtDecoder::open(engine, file, files, options)?;
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
        generate::{GenerateOptions, Sampling},
        ort_engine::{self, SessionConfig},
    };

    #[test]
    fn writes_a_report_that_satisfies_its_schema() {
        let Some(engine) = ort_engine::tests::engine() else { return };
        let bundle = Bundle::open(DEFAULT_BUNDLE).unwrap();
        let cache = Cache::locate().unwrap();
        let session = SessionConfig { threads: 1, ..SessionConfig::default() };
        let opened = LanguageModel::open(&engine, &bundle, &cache, DecoderOptions { capacity: 512, session });
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
        let options = GenerateOptions { max_new_tokens: 24, sampling: Sampling::Greedy };
        let first = model.generator.generate(&prompt, Some(&grammar), options, &AtomicBool::new(false)).unwrap();
        let report: Value = serde_json::from_str(&first.text).unwrap();
        assert_eq!(report["defect"], "hole", "{}", first.text);
        assert!(first.forced_tokens >= 8 && first.sampled_tokens <= 24, "{first:?}");
        // The same order again reads one token of the prompt and gives the same text.
        let second = model.generator.generate(&prompt, Some(&grammar), options, &AtomicBool::new(false)).unwrap();
        assert_eq!((second.text, second.reused_tokens), (first.text, prompt.len() - 1));
    }
}
