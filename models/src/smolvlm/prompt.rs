//! How SmolVLM is asked: a conversation with pictures as token ids.
//!
//! A prompt begins with what stays the same from one picture to the next when the turns do: instructions and reference pictures
//! first, the picture in question last. Then a decoder that keeps what it has read computes only the rest.

use std::{iter, ops::Range, sync::Arc};

use super::Cell;
use crate::{ModelError, tokenizer::TextTokenizer};

/// Special tokens that every checkpoint of the family has.
const CONVERSATION: &str = "<|im_start|>";
const TURN_END: &str = "<end_of_utterance>";
const AROUND_IMAGE: &str = "<fake_token_around_image>";
const IMAGE: &str = "<image>";
/// Marks the frame of a whole picture; the 2B checkpoint spells it out, as it does the marks of tiles.
const WHOLE: &str = "<global-img>";

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Instructions.
    System,
    /// Who asks.
    User,
    /// The model, in an earlier answer.
    Assistant,
}

impl Role {
    fn name(self) -> &'static str {
        match self {
            Self::System => "System",
            Self::User => "User",
            Self::Assistant => "Assistant",
        }
    }
}

/// One piece of what somebody says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content<'a> {
    /// Words. Whatever they are, none of them becomes a mark of the format.
    Text(&'a str),
    /// The next picture.
    Image,
}

/// What one speaker says. Models answer better when the picture comes before the question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Turn<'a> {
    /// Who says it.
    pub role: Role,
    /// What is said, in order.
    pub content: &'a [Content<'a>],
}

/// A prompt that ends where the assistant begins to answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prompt {
    /// The tokens.
    pub ids: Vec<u32>,
    /// Where in `ids` the tokens lie that stand for frames and are replaced by image features: one range for each frame, picture
    /// by picture in the order of [`super::Frames`].
    pub frames: Vec<Range<usize>>,
}

/// Builds prompts for one checkpoint.
#[derive(Debug)]
pub struct PromptBuilder {
    tokenizer: Arc<TextTokenizer>,
    tokens_per_frame: usize,
    conversation: u32,
    turn_end: u32,
    around_image: u32,
    image: u32,
}

impl PromptBuilder {
    /// Returns a builder for a checkpoint whose frames take `tokens_per_frame` tokens.
    ///
    /// # Errors
    /// When the tokenizer lacks a special token of the format.
    pub fn new(tokenizer: Arc<TextTokenizer>, tokens_per_frame: usize) -> Result<Self, ModelError> {
        let mark = |mark: &str| {
            tokenizer.mark(mark).ok_or_else(|| ModelError::mismatch("tokenizer", mark, "no such special token"))
        };
        let (conversation, turn_end) = (mark(CONVERSATION)?, mark(TURN_END)?);
        let (around_image, image) = (mark(AROUND_IMAGE)?, mark(IMAGE)?);
        Ok(Self { tokenizer, tokens_per_frame, conversation, turn_end, around_image, image })
    }

    /// Returns the token that stands for a part of a frame.
    pub const fn image_token(&self) -> u32 {
        self.image
    }

    /// Returns the prompt of a conversation. `images` gives for each picture in it, in order, where its tiles lie, row by row:
    /// [`super::Frames::cells`]. After them comes the frame of the whole picture.
    ///
    /// # Errors
    /// When there are more or fewer images than [`Content::Image`] in `turns`.
    pub fn build(&self, turns: &[Turn<'_>], images: &[&[Cell]]) -> Result<Prompt, ModelError> {
        let placeholders = turns.iter().flat_map(|turn| turn.content).filter(|&&item| item == Content::Image).count();
        if placeholders != images.len() {
            let expected = format!("{placeholders}, one for each place in the conversation");
            return Err(ModelError::mismatch("images of a prompt", &expected, images.len()));
        }
        // There is one for each place, so that none of them is made up below.
        let mut images = images.iter();
        let mut draft = Draft { builder: self, ids: vec![self.conversation], text: String::new(), frames: Vec::new() };
        for turn in turns {
            draft.text.push_str(turn.role.name());
            draft.text.push_str(if turn.content.first() == Some(&Content::Image) { ":" } else { ": " });
            for item in turn.content {
                match item {
                    Content::Text(text) => draft.text.push_str(text),
                    Content::Image => draft.image(images.next().copied().unwrap_or_default())?,
                }
            }
            draft.token(self.turn_end)?;
            draft.text.push('\n');
        }
        draft.text.push_str(Role::Assistant.name());
        draft.text.push(':');
        draft.finish()
    }
}

/// A prompt under way. Text is gathered up to the next special token, because words depend on their neighbours.
struct Draft<'a> {
    builder: &'a PromptBuilder,
    ids: Vec<u32>,
    text: String,
    frames: Vec<Range<usize>>,
}

impl Draft<'_> {
    fn token(&mut self, id: u32) -> Result<(), ModelError> {
        self.spell()?;
        self.ids.push(id);
        Ok(())
    }

    fn spell(&mut self) -> Result<(), ModelError> {
        if !self.text.is_empty() {
            self.ids.extend(self.builder.tokenizer.encode(&self.text)?);
            self.text.clear();
        }
        Ok(())
    }

    /// Appends one picture. A line of tiles ends with a line feed, all of them with one more; nothing but the frame of the whole
    /// picture is closed.
    fn image(&mut self, cells: &[Cell]) -> Result<(), ModelError> {
        for row in cells.chunk_by(|one, next| one.row == next.row) {
            for Cell { row, col } in row {
                self.frame(&format!("<row_{row}_col_{col}>"))?;
            }
            self.text.push('\n');
        }
        if !cells.is_empty() {
            self.text.push('\n');
        }
        self.frame(WHOLE)?;
        self.token(self.builder.around_image)
    }

    fn frame(&mut self, mark: &str) -> Result<(), ModelError> {
        self.token(self.builder.around_image)?;
        match self.builder.tokenizer.mark(mark) {
            Some(id) => self.ids.push(id),
            None => self.text.push_str(mark),
        }
        self.spell()?;
        let start = self.ids.len();
        self.ids.extend(iter::repeat_n(self.builder.image, self.builder.tokens_per_frame));
        self.frames.push(start..self.ids.len());
        Ok(())
    }

    fn finish(mut self) -> Result<Prompt, ModelError> {
        self.spell()?;
        Ok(Prompt { ids: self.ids, frames: self.frames })
    }
}

#[cfg(test)]
mod tests;
