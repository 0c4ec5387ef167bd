use serde_json::{Value, json};

use super::*;
use crate::{grammar::GrammarCompiler, tokenizer::tests::tiny};

/// A decoder that wants the same text over and over, whatever it reads, and counts what it reads.
#[derive(Debug)]
struct Stubborn {
    wants: Vec<u32>,
    logits: Vec<f32>,
    position: usize,
    read: usize,
    capacity: usize,
}

impl Stubborn {
    fn new(tokenizer: &TextTokenizer, text: &str) -> Self {
        let wants = tokenizer.encode(text).unwrap();
        Self { wants, logits: vec![0.0; tokenizer.vocabulary()], position: 0, read: 0, capacity: 2000 }
    }
}

impl TextDecoder for Stubborn {
    fn embed(&self, _: &[u32]) -> Result<Vec<f32>, ModelError> {
        panic!("only tokens")
    }

    fn extend(&mut self, input: Input<'_>) -> Result<&[f32], ModelError> {
        let Input::Tokens(tokens) = input else { panic!("only tokens") };
        assert!(!tokens.is_empty() && self.position + tokens.len() <= self.capacity);
        self.position += tokens.len();
        self.read += tokens.len();
        self.logits.fill(0.0);
        // Ever less wish for the later tokens; the mark that ends a turn is hated.
        for (rank, &id) in self.wants.iter().enumerate() {
            self.logits[id as usize] = 100.0 - rank as f32;
        }
        self.logits[1] = -100.0;
        Ok(&self.logits)
    }

    fn truncate(&mut self, len: usize) {
        self.position = self.position.min(len);
    }

    fn position(&self) -> usize {
        self.position
    }

    fn capacity(&self) -> usize {
        self.capacity
    }
}

/// Wants what [`Stubborn`] wants until it has a closer look: then it wants a letter, if that is possible at all.
#[derive(Debug)]
struct Hasty(Stubborn, u32);

impl TextDecoder for Hasty {
    fn embed(&self, ids: &[u32]) -> Result<Vec<f32>, ModelError> {
        self.0.embed(ids)
    }

    fn extend(&mut self, input: Input<'_>) -> Result<&[f32], ModelError> {
        self.0.extend(input)
    }

    fn sharpen(&self, logits: &mut [f32]) {
        let logit = &mut logits[self.1 as usize];
        *logit = if logit.is_finite() { 1000.0 } else { *logit };
    }

    fn truncate(&mut self, len: usize) {
        self.0.truncate(len);
    }

    fn position(&self) -> usize {
        self.0.position()
    }

    fn capacity(&self) -> usize {
        self.0.capacity()
    }
}

fn schema() -> Value {
    json!({
        "type": "object",
        "properties": {
            "defect": {"type": "string"},
            "severity": {"enum": ["low", "medium", "high"]},
            "count": {"type": "integer", "minimum": 0, "maximum": 99},
            "actions": {"type": "array", "items": {"type": "string", "minLength": 3, "maxLength": 20}, "minItems": 1, "maxItems": 3},
            "certain": {"type": "boolean"},
        },
        "required": ["defect", "severity", "count", "actions", "certain"],
        "additionalProperties": false,
    })
}

fn assert_satisfies_schema(text: &str) {
    let value: Value = serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"));
    assert_eq!(value.as_object().unwrap().len(), 5, "{text}");
    assert!(value["defect"].is_string(), "{text}");
    assert!(["low", "medium", "high"].contains(&value["severity"].as_str().unwrap()), "{text}");
    assert!(value["count"].as_u64().unwrap() <= 99, "{text}");
    let actions = value["actions"].as_array().unwrap();
    assert!((1..=3).contains(&actions.len()), "{text}");
    for action in actions {
        assert!((3..=20).contains(&action.as_str().unwrap().chars().count()), "{text}");
    }
    assert!(value["certain"].is_boolean(), "{text}");
}

fn greedy(max_new_tokens: usize) -> GenerateOptions {
    GenerateOptions::greedy(max_new_tokens)
}

static NEVER: AtomicBool = AtomicBool::new(false);

#[test]
fn stays_valid_whatever_the_model_wants_and_whenever_it_ends() {
    let tokenizer = Arc::new(tiny());
    let grammar = GrammarCompiler::new(Arc::clone(&tokenizer)).unwrap().json(&schema()).unwrap();
    let prompt = tokenizer.chat("s", "u").unwrap();
    // Never ends a string, escapes for ever, breaks characters apart, closes at once, opens for ever, counts for ever.
    for wish in ["a", "\\\"", "\\u", "🔧", "\"}]", "{[", "9876543210", " ,", "the the"] {
        let mut generator = Generator::new(Stubborn::new(&tokenizer, wish), Arc::clone(&tokenizer));
        for budget in (0..24).chain([60, 200]) {
            let generation =
                generator.generate(&prompt.clone().into(), Some(&grammar), greedy(budget), &mut &NEVER).unwrap();
            assert_satisfies_schema(&generation.text);
            assert!(generation.sampled_tokens <= budget, "{wish:?}: {} of {budget}", generation.sampled_tokens);
            assert_eq!(generation.sampled_tokens + generation.forced_tokens, generation.ids.len());
        }
    }
}

#[test]
fn stays_valid_when_the_decoder_is_full_or_the_caller_cancels() {
    let tokenizer = Arc::new(tiny());
    let grammar = GrammarCompiler::new(Arc::clone(&tokenizer)).unwrap().json(&schema()).unwrap();
    let prompt = tokenizer.chat("s", "u").unwrap();
    let decoder = Stubborn { capacity: prompt.len() + 20, ..Stubborn::new(&tokenizer, "a") };
    let mut generator = Generator::new(decoder, Arc::clone(&tokenizer));
    let full = generator.generate(&prompt.clone().into(), Some(&grammar), greedy(500), &mut &NEVER).unwrap();
    assert_eq!(full.stop, Stop::Budget);
    assert_satisfies_schema(&full.text);
    let cancelled =
        generator.generate(&prompt.clone().into(), Some(&grammar), greedy(500), &mut &AtomicBool::new(true)).unwrap();
    assert_eq!((cancelled.stop, cancelled.sampled_tokens), (Stop::Cancelled, 0));
    assert_satisfies_schema(&cancelled.text);
}

#[test]
fn reads_forced_tokens_in_one_step_and_does_not_sample_them() {
    let tokenizer = Arc::new(tiny());
    let fixed = json!({"type": "object", "properties": {"certain": {"type": "boolean"}}, "required": ["certain"], "additionalProperties": false});
    let grammar = GrammarCompiler::new(Arc::clone(&tokenizer)).unwrap().json(&fixed).unwrap();
    let mut generator = Generator::new(Stubborn::new(&tokenizer, "t"), Arc::clone(&tokenizer));
    let generation = generator.generate(&vec![5].into(), Some(&grammar), greedy(50), &mut &NEVER).unwrap();
    assert_eq!((generation.text.as_str(), generation.stop), (r#"{"certain": true}"#, Stop::Complete));
    // Between `true` and `false` there is one choice; the rest has no alternative.
    assert_eq!(generation.sampled_tokens, 1);
    assert!(generation.forced_tokens > 10, "{}", generation.forced_tokens);
}

#[test]
fn computes_a_common_prefix_once() {
    let tokenizer = Arc::new(tiny());
    let mut generator = Generator::new(Stubborn::new(&tokenizer, "a"), Arc::clone(&tokenizer));
    let (first, second) =
        (tokenizer.chat("long instruction", "one").unwrap(), tokenizer.chat("long instruction", "two").unwrap());
    let shared = first.iter().zip(&second).take_while(|(left, right)| left == right).count();
    generator.generate(&first.clone().into(), None, greedy(5), &mut &NEVER).unwrap();
    let before = generator.decoder.read;
    let generation = generator.generate(&second.clone().into(), None, greedy(0), &mut &NEVER).unwrap();
    assert_eq!(generation.reused_tokens, shared);
    assert_eq!(generator.decoder.read - before, second.len() - shared);
    // The same prompt again: only its last token, whose logits are wanted.
    let before = generator.decoder.read;
    generator.logits(&second.clone().into()).unwrap();
    assert_eq!(generator.decoder.read - before, 1);
}

#[test]
fn generates_free_text_until_the_budget() {
    let tokenizer = Arc::new(tiny());
    let mut generator = Generator::new(Stubborn::new(&tokenizer, "a"), Arc::clone(&tokenizer));
    let generation = generator.generate(&vec![5, 6].into(), None, greedy(4), &mut &NEVER).unwrap();
    assert_eq!((generation.text.as_str(), generation.stop, generation.prompt_tokens), ("aaaa", Stop::Budget, 2));
}

#[test]
fn follows_a_pattern_and_refuses_what_nothing_satisfies() {
    let tokenizer = Arc::new(tiny());
    let compiler = GrammarCompiler::new(Arc::clone(&tokenizer)).unwrap();
    let grammar = compiler.json(&json!({"type": "string", "pattern": "^(yes|no), [a-c]{2,4}$"})).unwrap();
    let mut generator = Generator::new(Stubborn::new(&tokenizer, "nb"), Arc::clone(&tokenizer));
    let generation = generator.generate(&vec![5].into(), Some(&grammar), greedy(3), &mut &NEVER).unwrap();
    assert_eq!(generation.text, r#""no, bb""#);
    assert!(compiler.json(&json!({"type": "string", "minLength": 5, "maxLength": 1})).is_err());
    assert!(compiler.json(&json!({"type": "colour"})).is_err());
}

#[test]
fn writes_one_of_the_texts_to_the_letter() {
    let tokenizer = Arc::new(tiny());
    let compiler = GrammarCompiler::new(Arc::clone(&tokenizer)).unwrap();
    let texts = [r#"{"a":"b c"}"#, r#"{"a":"n.*"}"#].map(str::to_owned);
    let grammar = compiler.one_of(&texts).unwrap();
    for (wish, expected) in [("b", &texts[0]), ("n", &texts[1])] {
        let mut generator = Generator::new(Stubborn::new(&tokenizer, wish), Arc::clone(&tokenizer));
        let generation = generator.generate(&vec![5].into(), Some(&grammar), greedy(30), &mut &NEVER).unwrap();
        assert_eq!(&generation.text, expected);
    }
    assert!(compiler.one_of(&[]).is_err());
}

#[test]
fn looks_closer_at_what_a_grammar_allows_and_at_what_is_asked_for() {
    let tokenizer = Arc::new(tiny());
    let compiler = GrammarCompiler::new(Arc::clone(&tokenizer)).unwrap();
    let grammar = compiler.json(&json!({"type": "string", "pattern": "^(yes|no)$"})).unwrap();
    let [yes, no] = ["y", "n"].map(|letter| tokenizer.encode(letter).unwrap()[0]);
    let mut generator = Generator::new(Hasty(Stubborn::new(&tokenizer, "y"), no), Arc::clone(&tokenizer));
    let generation = generator.generate(&vec![5].into(), Some(&grammar), greedy(3), &mut &NEVER).unwrap();
    assert_eq!(generation.text, r#""no""#);
    // What was read before is discouraged after that look, which would undo it.
    let options = GenerateOptions { repetition_penalty: 20.0, ..greedy(3) };
    let generation = generator.generate(&vec![no].into(), Some(&grammar), options, &mut &NEVER).unwrap();
    assert_eq!(generation.text, r#""yes""#);
    let logits = generator.logits_of(&vec![5].into(), &[yes, no, u32::MAX]).unwrap();
    assert_eq!(logits, [100.0, 1000.0, f32::NEG_INFINITY]);
}
