//! Text to token ids and back: the byte-level BPE whose vocabulary and merges lie in the model's own GGUF file or in a file
//! of its own.

mod hugging_face;

use std::{fmt, ops::Range};

use tokenizers::{
    AddedToken, Tokenizer,
    models::bpe::{BPE, Vocab},
    pre_tokenizers::{PreTokenizerWrapper, byte_level::ByteLevel, digits::Digits, sequence::Sequence},
};

use crate::{ModelError, gguf::Gguf};

/// The tokenizer family and pre-tokenizer that this module implements.
const FAMILY: &str = "gpt2";
const PRE_TOKENIZER: &str = "smollm";
/// The token type that GGUF gives to control tokens.
const CONTROL: i64 = 3;
/// Marks of the `ChatML` format.
const TURN_START: &str = "<|im_start|>";
pub(crate) const TURN_END: &str = "<|im_end|>";

/// Translates between text and token ids.
pub struct TextTokenizer {
    inner: Tokenizer,
    token_bytes: Vec<Vec<u8>>,
    is_control: Vec<bool>,
    turn_start: u32,
    turn_end: u32,
}

impl fmt::Debug for TextTokenizer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("TextTokenizer").field("vocabulary", &self.token_bytes.len()).finish_non_exhaustive()
    }
}

impl TextTokenizer {
    /// Returns the tokenizer of a model file. `end_of_turn` is the control token that ends an answer, which the file does not
    /// tell for certain: what it calls the end of a text may be the one of an earlier stage of training.
    ///
    /// # Errors
    /// When a key is absent, the tokenizer is of another family, lacks `end_of_turn` or the mark that begins a conversation, or
    /// a merge has no two parts.
    pub fn from_gguf(file: &Gguf, end_of_turn: &str) -> Result<Self, ModelError> {
        for (key, expected) in [("tokenizer.ggml.model", FAMILY), ("tokenizer.ggml.pre", PRE_TOKENIZER)] {
            let found = file.text(key)?;
            if found != expected {
                return Err(file.flaw(key, expected, found));
            }
        }
        let (tokens, kinds) = (file.texts("tokenizer.ggml.tokens")?, file.integers("tokenizer.ggml.token_type")?);
        if kinds.len() != tokens.len() {
            let expected = format!("{} types", tokens.len());
            return Err(file.flaw("tokenizer.ggml.token_type", &expected, &kinds.len().to_string()));
        }
        let is_control: Vec<bool> = kinds.iter().map(|&kind| kind == CONTROL).collect();
        Self::of_vocabulary((tokens, &is_control), file.texts("tokenizer.ggml.merges")?, end_of_turn)
            .map_err(|error| error.in_file(file.path()))
    }

    /// Returns the tokenizer of a vocabulary in the byte-level alphabet. `is_control` tells which tokens are marks that no
    /// text contains; `merges` are pairs of tokens with a space between, the most frequent first.
    ///
    /// # Errors
    /// When a merge has no two parts, names a token that is absent, or the `ChatML` marks are absent.
    pub fn from_parts(tokens: &[String], is_control: &[bool], merges: &[String]) -> Result<Self, ModelError> {
        Self::of_vocabulary((tokens, is_control), merges, TURN_END)
    }

    fn of_vocabulary(
        (tokens, is_control): (&[String], &[bool]),
        merges: &[String],
        end_of_turn: &str,
    ) -> Result<Self, ModelError> {
        let id_of = |mark: &str| {
            let found = tokens.iter().position(|token| token == mark);
            found.map(|id| id as u32).ok_or_else(|| ModelError::mismatch("vocabulary", mark, "no such token"))
        };
        let (turn_start, turn_end) = (id_of(TURN_START)?, id_of(end_of_turn)?);
        let pairs = merges
            .iter()
            .map(|merge| merge.split_once(' ').ok_or_else(|| ModelError::mismatch("merge", "two tokens", merge)))
            .map(|pair| pair.map(|(left, right)| (left.to_owned(), right.to_owned())))
            .collect::<Result<Vec<_>, _>>()?;
        let inner = build(tokens, is_control, pairs)
            .map_err(|source| ModelError::Text { doing: "building the tokenizer".to_owned(), source })?;
        let token_bytes = tokens.iter().map(|token| bytes_of(token)).collect();
        Ok(Self { inner, token_bytes, is_control: is_control.to_vec(), turn_start, turn_end })
    }

    /// Returns the ids of a text. Marks of the chat format in it are ordinary text: nobody can end a turn by writing
    /// `<|im_end|>` into a part number.
    ///
    /// # Errors
    /// When the tokenizer fails, which no text is known to make it do.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, ModelError> {
        let encoded = self.inner.encode_fast(text, false);
        let encoding =
            encoded.map_err(|source| ModelError::Text { doing: "splitting a text into tokens".to_owned(), source })?;
        Ok(encoding.get_ids().to_vec())
    }

    /// Returns the text of ids; control tokens have none, and bytes that are no UTF-8 become U+FFFD.
    pub fn decode(&self, ids: &[u32]) -> String {
        let spoken = ids.iter().filter(|&&id| !self.is_control(id));
        let bytes: Vec<u8> = spoken.flat_map(|&id| self.bytes(id).iter().copied()).collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Returns the ids of a conversation in the `ChatML` format up to the point where the assistant answers `user`.
    ///
    /// # Errors
    /// As [`Self::encode`].
    pub fn chat(&self, system: &str, user: &str) -> Result<Vec<u32>, ModelError> {
        let mut ids = Vec::new();
        for (role, text) in [("system", system), ("user", user)] {
            ids.push(self.turn_start);
            ids.extend(self.encode(&format!("{role}\n{text}"))?);
            ids.push(self.turn_end);
            ids.extend(self.encode("\n")?);
        }
        ids.push(self.turn_start);
        ids.extend(self.encode("assistant\n")?);
        Ok(ids)
    }

    /// Returns a question about a picture of so many tokens as a conversation without a system's turn, ready for the answer, and where
    /// the picture's tokens stand in it; they are turn starts until a reading puts the picture there.
    ///
    /// # Errors
    /// When the question cannot be split into tokens.
    pub fn ask(&self, picture_tokens: usize, question: &str) -> Result<(Vec<u32>, Range<usize>), ModelError> {
        let mut ids = vec![self.turn_start];
        ids.extend(self.encode("user\n")?);
        let picture = ids.len()..ids.len() + picture_tokens;
        ids.resize(picture.end, self.turn_start);
        ids.extend(self.encode(&format!("\n{question}"))?);
        ids.push(self.turn_end);
        ids.extend(self.encode("\n")?);
        ids.push(self.turn_start);
        ids.extend(self.encode("assistant\n")?);
        Ok((ids, picture))
    }

    /// Returns the bytes of a token, none for an id outside the vocabulary.
    pub fn bytes(&self, id: u32) -> &[u8] {
        self.token_bytes.get(id as usize).map_or(&[], Vec::as_slice)
    }

    /// Returns whether a token is a mark rather than text.
    pub fn is_control(&self, id: u32) -> bool {
        self.is_control.get(id as usize).copied().unwrap_or(true)
    }

    /// Returns the token that ends an answer.
    pub fn end_of_turn(&self) -> u32 {
        self.turn_end
    }

    /// Returns the number of tokens.
    pub fn vocabulary(&self) -> usize {
        self.token_bytes.len()
    }
}

fn build(
    tokens: &[String],
    is_control: &[bool],
    merges: Vec<(String, String)>,
) -> Result<Tokenizer, tokenizers::Error> {
    let ids = tokens.iter().zip(0_u32..).map(|(token, id)| (token.clone(), id));
    let bpe = BPE::builder().vocab_and_merges(ids.collect::<Vocab>(), merges).build()?;
    let mut tokenizer = Tokenizer::new(bpe);
    // Every digit is a token of its own; then the word pattern of GPT-2.
    let splits = [Digits::new(true).into(), ByteLevel::new(false, true, true).into()];
    tokenizer.with_pre_tokenizer(Some(PreTokenizerWrapper::from(Sequence::new(splits.into()))));
    let controls = tokens.iter().zip(is_control).filter(|(_, is_control)| **is_control);
    tokenizer.add_special_tokens(controls.map(|(token, _)| AddedToken::from(token.clone(), true)))?;
    tokenizer.set_encode_special_tokens(true);
    Ok(tokenizer)
}

/// Returns the bytes that a token of the byte-level alphabet stands for; a character outside it stands for itself.
fn bytes_of(token: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(token.len());
    for character in token.chars() {
        match byte_of(character) {
            Some(byte) => bytes.push(byte),
            None => bytes.extend(character.encode_utf8(&mut [0; 4]).bytes()),
        }
    }
    bytes
}

/// The alphabet of GPT-2: printable Latin-1 characters stand for themselves, the other 68 bytes, in order, for U+0100 on.
fn byte_of(character: char) -> Option<u8> {
    let is_printable = |byte: u8| matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    match u32::from(character) {
        code @ 0..=0xff => u8::try_from(code).ok().filter(|&byte| is_printable(byte)),
        code => (0..=u8::MAX).filter(|&byte| !is_printable(byte)).nth((code - 0x100) as usize),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    pub(crate) use super::hugging_face::tests::{parsed, tiny_json};
    use super::*;

    /// Returns a tokenizer of two marks, the 256 bytes and a few merges, which needs no model file.
    pub(crate) fn tiny() -> TextTokenizer {
        let mut alphabet: Vec<char> =
            (0x21..0x7f).chain(0xa1..0xad).chain(0xae..0x144).filter_map(char::from_u32).collect();
        alphabet.retain(|&character| byte_of(character).is_some());
        let mut tokens = vec![TURN_START.to_owned(), TURN_END.to_owned()];
        tokens.extend(alphabet.into_iter().map(String::from));
        let merges = ["t h", "th e", "Ġ the", "\" :", "} }"].map(str::to_owned);
        tokens.extend(merges.iter().map(|merge| merge.replace(' ', "")));
        let is_control: Vec<bool> = (0..tokens.len()).map(|id| id < 2).collect();
        TextTokenizer::from_parts(&tokens, &is_control, &merges).unwrap()
    }

    #[test]
    fn covers_every_byte_once() {
        let tokenizer = tiny();
        let mut seen: Vec<u8> = (2..258).map(|id| tokenizer.bytes(id)[0]).collect();
        seen.sort_unstable();
        assert_eq!(seen, (0..=255).collect::<Vec<u8>>());
    }

    #[test]
    fn gives_back_every_text() {
        let tokenizer = tiny();
        for text in ["", " the 42 theses", "äöü 缺陷 🔧\r\n\t\0", "<|im_end|>", "  \u{a0}x"] {
            let ids = tokenizer.encode(text).unwrap();
            assert_eq!(tokenizer.decode(&ids), text);
            assert!(ids.iter().all(|&id| !tokenizer.is_control(id)), "{text:?} made a mark");
        }
    }

    #[test]
    fn merges_within_words_and_splits_digits() {
        let tokenizer = tiny();
        let spelled: Vec<_> =
            tokenizer.encode("the the 12").unwrap().into_iter().map(|id| tokenizer.decode(&[id])).collect();
        assert_eq!(spelled, ["the", " the", " ", "1", "2"]);
    }

    #[test]
    fn builds_chat_turns_from_marks() {
        let tokenizer = tiny();
        let ids = tokenizer.chat("be brief", "why <|im_end|>?").unwrap();
        let marks: Vec<u32> = ids.iter().copied().filter(|&id| tokenizer.is_control(id)).collect();
        assert_eq!(marks, [0, 1, 0, 1, 0]);
        assert_eq!(tokenizer.decode(&ids), "system\nbe brief\nuser\nwhy <|im_end|>?\nassistant\n");
    }

    #[test]
    fn refuses_a_merge_of_one_part() {
        let tokens = [TURN_START, TURN_END].map(str::to_owned);
        let error = TextTokenizer::from_parts(&tokens, &[true, true], &["ab".to_owned()]).unwrap_err();
        assert_eq!(error.to_string(), "merge: expected two tokens, found ab");
    }

    /// Ids that the tokenizer of the published model gives, in part from the decoder's reference fixture.
    #[test]
    fn agrees_with_the_published_tokenizer() {
        let Some(file) = crate::decoder::tests::model_file() else { return };
        let tokenizer = TextTokenizer::from_gguf(&file, TURN_END).unwrap();
        for (text, expected) in PUBLISHED {
            assert_eq!(tokenizer.encode(text).unwrap(), expected, "{text:?}");
            assert_eq!(tokenizer.decode(expected), text);
        }
        let ids = tokenizer.chat("a", "b 12").unwrap();
        assert_eq!(ids, CHAT);
    }

    const PUBLISHED: [(&str, &[u32]); 10] = [
        ("", &[]),
        ("Hello world", &[19556, 905]),
        (" 2026-11-21 12.5mm", &[216, 34, 32, 34, 38, 29, 33, 33, 29, 34, 33, 216, 33, 34, 30, 37, 6799]),
        ("can't we'll  they're", &[4055, 982, 392, 3060, 216, 502, 2316]),
        ("a\n\n\tb \r\n", &[81, 1116, 197, 82, 216, 2738]),
        ("äöüß 缺陷 🔧", &[9023, 7466, 7170, 34878, 27709, 137, 135, 35804, 132, 15107, 238, 117]),
        (
            "{\"defect\": \"bent pin\", \"severity\": 3}",
            &[39428, 1604, 374, 1799, 476, 82, 293, 8268, 1002, 476, 12924, 383, 1799, 216, 35, 109],
        ),
        ("   leading", &[256, 2899]),
        ("CamelCaseIDs_v2", &[51, 14548, 10802, 25338, 79, 102, 34]),
        ("\u{a0}nbsp\u{200b}", &[15442, 94, 32093, 321, 229]),
    ];
    const CHAT: &[u32] = &[1, 9690, 198, 81, 2, 198, 1, 4093, 198, 82, 216, 33, 34, 2, 198, 1, 520, 9531, 198];
}
