//! The tokenizer of a Hugging Face folder: `tokenizer.json`.

use std::{fs, path::Path};

use tokenizers::{DecoderWrapper, Tokenizer};

use super::{TURN_START, TextTokenizer, bytes_of};
use crate::ModelError;

/// Ids that a vocabulary may leave out, for one that it names: a file cannot take memory that it does not fill.
const MOST_GAPS: usize = 4;

impl TextTokenizer {
    /// Returns the tokenizer in the file at `path`, a byte-level BPE. `end_of_turn` is the special token that ends an answer,
    /// which the file does not tell.
    ///
    /// # Errors
    /// When the file cannot be read, is no such tokenizer, or lacks `end_of_turn` or the mark that begins a conversation.
    pub fn open(path: &Path, end_of_turn: &str) -> Result<Self, ModelError> {
        let json = fs::read(path).map_err(|source| ModelError::Io { path: path.to_owned(), source })?;
        Self::from_json(&json, path, end_of_turn)
    }

    fn from_json(json: &[u8], path: &Path, end_of_turn: &str) -> Result<Self, ModelError> {
        let unreadable =
            |source| ModelError::Text { doing: format!("{}: reading a tokenizer", path.display()), source };
        let flaw = |expected: &str, found: &str| ModelError::Malformed {
            path: path.to_owned(),
            expected: expected.to_owned(),
            found: found.to_owned(),
        };
        let mut inner = Tokenizer::from_bytes(json).map_err(unreadable)?;
        if !matches!(inner.get_decoder(), Some(DecoderWrapper::ByteLevel(_))) {
            return Err(flaw("decoder: ByteLevel", "another"));
        }
        // The file may ask for both, as it was when somebody saved it.
        inner.with_padding(None).with_truncation(None).map_err(unreadable)?;
        inner.set_encode_special_tokens(true);
        let ids = inner.get_vocab(true).into_values().max().map_or(0, |last| last as usize + 1);
        if ids > MOST_GAPS * inner.get_vocab_size(true) {
            return Err(flaw("vocabulary: ids without wide gaps", &format!("{ids} ids")));
        }
        let tokens: Vec<Option<String>> = (0..ids as u32).map(|id| inner.id_to_token(id)).collect();
        let special = inner.get_added_vocabulary();
        let is_control: Vec<bool> =
            tokens.iter().map(|token| token.as_ref().is_none_or(|token| special.is_special_token(token))).collect();
        let token_bytes = tokens.iter().map(|token| token.as_deref().map(bytes_of).unwrap_or_default()).collect();
        let mut tokenizer = Self { inner, token_bytes, is_control, turn_start: 0, turn_end: 0 };
        let id_of = |mark| tokenizer.mark(mark).ok_or_else(|| flaw(&format!("the special token {mark}"), "none"));
        (tokenizer.turn_start, tokenizer.turn_end) = (id_of(TURN_START)?, id_of(end_of_turn)?);
        Ok(tokenizer)
    }

    /// Returns the id of a special token, or `None` when `mark` is none.
    pub fn mark(&self, mark: &str) -> Option<u32> {
        self.inner.token_to_id(mark).filter(|&id| self.is_control(id))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// Returns a tokenizer file with `marks`, the 256 bytes and merges of the line feed and of a word.
    pub(crate) fn tiny_json(marks: &[&str]) -> Value {
        let printable = (0x21..0x7f).chain(0xa1..0xad).chain(0xae..0x144);
        let alphabet =
            printable.filter_map(char::from_u32).filter(|&character| bytes_of(&character.to_string()).len() == 1);
        let mut tokens: Vec<String> = alphabet.map(String::from).collect();
        let merges = ["Ċ Ċ", "U s", "e r", "Us er", "Ġ User"];
        tokens.extend(merges.map(|merge| merge.replace(' ', "")));
        let vocabulary: serde_json::Map<_, _> = tokens.iter().cloned().zip((0..).map(Value::from)).collect();
        let added = marks.iter().zip(tokens.len()..).map(|(mark, id)| {
            json!({"id": id, "content": mark, "single_word": false, "lstrip": false, "rstrip": false,
                   "normalized": false, "special": true})
        });
        let byte_level =
            json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true});
        json!({
            "version": "1.0", "truncation": null, "padding": null, "normalizer": null, "post_processor": null,
            "added_tokens": added.collect::<Vec<_>>(), "pre_tokenizer": byte_level, "decoder": byte_level,
            "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
                      "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false,
                      "vocab": vocabulary, "merges": merges},
        })
    }

    /// Returns the tokenizer of a file that holds `json`.
    pub(crate) fn parsed(json: &Value, end_of_turn: &str) -> Result<TextTokenizer, ModelError> {
        TextTokenizer::from_json(json.to_string().as_bytes(), Path::new("tokenizer.json"), end_of_turn)
    }

    #[test]
    fn reads_marks_and_words() {
        let tokenizer = parsed(&tiny_json(&[TURN_START, "<end>"]), "<end>").unwrap();
        assert_eq!(tokenizer.vocabulary(), 256 + 5 + 2);
        assert_eq!((tokenizer.mark(TURN_START), tokenizer.end_of_turn()), (Some(261), 262));
        assert_eq!(tokenizer.mark("User"), None, "a word is no mark");
        let ids = tokenizer.encode("User User<end>\n\n").unwrap();
        assert_eq!(tokenizer.decode(&ids), "User User<end>\n\n");
        assert!(ids.iter().all(|&id| !tokenizer.is_control(id)), "{ids:?}");
        assert_eq!(ids.len(), 3 + "<end>".len());
    }

    #[test]
    fn ignores_truncation_and_padding() {
        let mut json = tiny_json(&[TURN_START]);
        json["truncation"] = json!({"max_length": 2, "strategy": "LongestFirst", "stride": 0, "direction": "Right"});
        json["padding"] = json!({"strategy": {"Fixed": 9}, "direction": "Right", "pad_to_multiple_of": null,
            "pad_id": 0, "pad_type_id": 0, "pad_token": "!"});
        let tokenizer = parsed(&json, TURN_START).unwrap();
        assert_eq!(tokenizer.encode("abcd").unwrap().len(), 4);
    }

    #[test]
    fn refuses_what_is_no_byte_level_tokenizer() {
        let with = |key: &str, value: Value| {
            let mut json = tiny_json(&[TURN_START]);
            json[key] = value;
            json
        };
        let mut plain = tiny_json(&[TURN_START]);
        plain["added_tokens"][0]["special"] = json!(false);
        let mut sparse = tiny_json(&[TURN_START]);
        sparse["model"]["vocab"]["far"] = json!(4_000_000_000_u32);
        let cases = [
            (with("decoder", json!({"type": "WordPiece", "prefix": "##", "cleanup": true})), "decoder: ByteLevel"),
            (with("decoder", Value::Null), "decoder: ByteLevel"),
            (with("added_tokens", json!([])), "<|im_start|>"),
            (with("model", json!({"type": "Nothing"})), "reading a tokenizer"),
            (json!([]), "reading a tokenizer"),
            (plain, "<|im_start|>"),
            (sparse, "wide gaps"),
        ];
        for (json, expected) in cases {
            let error = parsed(&json, TURN_START).unwrap_err().to_string();
            assert!(error.starts_with("tokenizer.json") && error.contains(expected), "{error}");
        }
    }
}
