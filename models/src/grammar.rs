//! What a text may look like: a JSON schema, followed token by token.

use std::{fmt, sync::Arc};

use llguidance::{Matcher, ParserFactory, api::TopLevelGrammar};
use serde_json::{Value, json};
use toktrie::{SimpleVob, TokEnv, TokRxInfo, TokTrie, TokenId, TokenizerEnv};

use crate::{ModelError, tokenizer::TextTokenizer};

/// Tokens that [`GrammarState::close`] appends at most. A grammar that cannot end within them is an error of its author.
const CLOSING_MAX: usize = 1024;
/// What ends a JSON value soonest, the best first; a zero makes a number whole.
const CLOSERS: [&[u8]; 4] = [b"\"", b"}", b"]", b"0"];

/// Compiles grammars for one tokenizer.
pub struct GrammarCompiler {
    factory: ParserFactory,
    tokenizer: Arc<TextTokenizer>,
}

/// A compiled grammar, from which any number of texts can be started.
#[derive(Clone)]
pub struct Grammar {
    start: Matcher,
    tokenizer: Arc<TextTokenizer>,
}

/// A text that follows a grammar so far.
pub struct GrammarState {
    matcher: Matcher,
    tokenizer: Arc<TextTokenizer>,
}

impl fmt::Debug for GrammarCompiler {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("GrammarCompiler").field("tokenizer", &self.tokenizer).finish_non_exhaustive()
    }
}

impl fmt::Debug for Grammar {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Grammar").finish_non_exhaustive()
    }
}

impl fmt::Debug for GrammarState {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("GrammarState").field("finished", &self.is_finished()).finish_non_exhaustive()
    }
}

impl GrammarCompiler {
    /// Returns the compiler for a tokenizer.
    ///
    /// # Errors
    /// When the vocabulary cannot be indexed.
    pub fn new(tokenizer: Arc<TextTokenizer>) -> Result<Self, ModelError> {
        let environment: TokEnv = Arc::new(Environment::new(Arc::clone(&tokenizer)));
        let mut factory = ParserFactory::new_simple(&environment).map_err(grammar("indexing the vocabulary"))?;
        factory.quiet();
        Ok(Self { factory, tokenizer })
    }

    /// Returns the grammar of JSON texts that satisfy `schema`: one line, `": "` and `", "` between parts.
    ///
    /// # Errors
    /// When the schema is none, uses something that cannot be enforced, or nothing satisfies it.
    pub fn json(&self, schema: &Value) -> Result<Grammar, ModelError> {
        let mut schema = schema.clone();
        if let Value::Object(fields) = &mut schema {
            let layout = json!({"whitespace_flexible": false, "key_separator": ": ", "item_separator": ", "});
            fields.insert("x-guidance".to_owned(), layout);
        }
        self.compile(TopLevelGrammar::from_json_schema(schema))
    }

    /// Returns the grammar of these texts and no others.
    ///
    /// # Errors
    /// When there is none.
    pub fn one_of(&self, texts: &[String]) -> Result<Grammar, ModelError> {
        if texts.is_empty() {
            return Err(ModelError::mismatch("grammar", "one text or more", "none"));
        }
        // A string of Lark is written as one of JSON.
        let texts: Vec<String> = texts.iter().map(|text| Value::from(text.as_str()).to_string()).collect();
        self.compile(TopLevelGrammar::from_lark(format!("start: {}", texts.join(" | "))))
    }

    fn compile(&self, source: TopLevelGrammar) -> Result<Grammar, ModelError> {
        let parser = self.factory.create_parser(source).map_err(grammar("compiling a grammar"))?;
        Ok(Grammar { start: Matcher::new(Ok(parser)), tokenizer: Arc::clone(&self.tokenizer) })
    }
}

impl Grammar {
    /// Returns an empty text.
    pub fn start(&self) -> GrammarState {
        GrammarState { matcher: self.start.deep_clone(), tokenizer: Arc::clone(&self.tokenizer) }
    }
}

impl GrammarState {
    /// Returns the tokens that may follow.
    ///
    /// # Errors
    /// When the text is finished or the grammar is too ambiguous to follow.
    pub fn allowed(&mut self) -> Result<SimpleVob, ModelError> {
        self.matcher.compute_mask().map_err(grammar("following a grammar"))
    }

    /// Appends a token.
    ///
    /// # Errors
    /// When the token may not follow.
    pub fn consume(&mut self, token: u32) -> Result<(), ModelError> {
        self.matcher.consume_token(token).map_err(grammar("following a grammar"))
    }

    /// Appends the tokens to which there is no alternative and returns them, split as the tokenizer would.
    pub fn consume_forced(&mut self) -> Vec<u32> {
        self.matcher.consume_ff_tokens()
    }

    /// Returns whether nothing more may follow.
    pub fn is_finished(&self) -> bool {
        self.matcher.is_stopped()
    }

    /// Brings the text to an end that the grammar accepts, without asking a model, and returns the tokens that it took:
    /// closing quotes and brackets wherever they are allowed, else what the grammar forces, else anything it allows.
    ///
    /// # Errors
    /// When no end is found within 1024 tokens, as for a pattern that demands a longer text, or the tokenizer has no token for what
    /// must follow.
    pub fn close(&mut self) -> Result<Vec<u32>, ModelError> {
        let mut tokens = Vec::new();
        while tokens.len() < CLOSING_MAX {
            if self.matcher.is_accepting().map_err(grammar("ending a text"))? {
                return Ok(tokens);
            }
            if self.is_finished() {
                return Err(nothing_follows());
            }
            let forced = self.consume_forced();
            if forced.is_empty() {
                let token = self.closing_token()?;
                self.consume(token)?;
                tokens.push(token);
            }
            tokens.extend(forced);
        }
        Err(ModelError::mismatch("grammar", format!("an end within {CLOSING_MAX} tokens"), "none"))
    }

    fn closing_token(&mut self) -> Result<u32, ModelError> {
        let allowed = self.allowed()?;
        let rank = |token: u32| CLOSERS.iter().position(|&closer| self.tokenizer.bytes(token) == closer);
        let texts = allowed.iter().filter(|&token| !self.tokenizer.is_control(token));
        // Of equal rank the shortest, so that no token overshoots a length that the grammar bounds.
        let best =
            texts.min_by_key(|&token| (rank(token).unwrap_or(CLOSERS.len()), self.tokenizer.bytes(token).len(), token));
        best.ok_or_else(nothing_follows)
    }
}

fn nothing_follows() -> ModelError {
    ModelError::mismatch("grammar", "a token of the tokenizer that may follow", "none")
}

fn grammar<E: Into<Box<dyn std::error::Error + Send + Sync>>>(doing: &'static str) -> impl FnOnce(E) -> ModelError {
    move |source| {
        let source = source.into().to_string();
        // What follows the first line is the state of the engine, for its authors.
        let line = source.lines().next().unwrap_or_default();
        ModelError::Text { doing: doing.to_owned(), source: line.into() }
    }
}

/// The tokenizer as the grammar engine sees it: an index of all tokens by their bytes.
struct Environment {
    tokenizer: Arc<TextTokenizer>,
    trie: TokTrie,
}

impl Environment {
    fn new(tokenizer: Arc<TextTokenizer>) -> Self {
        let ids = 0..tokenizer.vocabulary() as u32;
        let words: Vec<Vec<u8>> = ids.map(|id| word(&tokenizer, id)).collect();
        let info = TokRxInfo::new(words.len() as u32, tokenizer.end_of_turn());
        Self { trie: TokTrie::from(&info, &words), tokenizer }
    }
}

/// Returns the bytes of a token; marks get a prefix that no text has.
fn word(tokenizer: &TextTokenizer, id: u32) -> Vec<u8> {
    let prefix: &[u8] = if tokenizer.is_control(id) { &[TokTrie::SPECIAL_TOKEN_MARKER] } else { &[] };
    [prefix, tokenizer.bytes(id)].concat()
}

impl TokenizerEnv for Environment {
    fn tok_trie(&self) -> &TokTrie {
        &self.trie
    }

    fn tokenize_bytes(&self, bytes: &[u8]) -> Vec<TokenId> {
        self.trie.tokenize_with_greedy_fallback(bytes, |text| {
            // The greedy split is valid too; it only spells a text in another way than the model is used to.
            self.tokenizer.encode(text).unwrap_or_else(|_| self.trie.greedy_tokenize(text.as_bytes()))
        })
    }
}
