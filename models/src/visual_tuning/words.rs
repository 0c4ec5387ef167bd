use crate::{ModelError, domain::Label, tokenizer::TextTokenizer};

/// How is asked about a picture. The first is asked at run time, and most often in training.
pub const QUESTIONS: [&str; 4] = [
    "What does the picture show?",
    "Name what you see and what is wrong with it.",
    "What is this, and is anything wrong?",
    "Look at the picture and report what it shows.",
];

/// The tokens of everything that is said around a picture.
#[derive(Debug)]
pub(super) struct Words {
    tokenizer: TextTokenizer,
    /// Of each label, the mark that ends a turn included.
    answers: Vec<Vec<u32>>,
}

impl Words {
    pub(super) fn new(tokenizer: TextTokenizer, labels: &[Label]) -> Result<Self, ModelError> {
        let answer = |label: &Label| {
            let mut ids = tokenizer.encode(&label.answer())?;
            ids.push(tokenizer.end_of_turn());
            Ok(ids)
        };
        let answers = labels.iter().map(answer).collect::<Result<_, ModelError>>()?;
        Ok(Self { tokenizer, answers })
    }

    pub(super) fn ids(&self, text: &str) -> Result<Vec<u32>, ModelError> {
        self.tokenizer.encode(text)
    }

    /// Returns the tokens before and behind a picture of so many cells of which is asked `question`.
    pub(super) fn around(&self, question: &str, cells: usize) -> Result<(Vec<u32>, Vec<u32>), ModelError> {
        let (ids, at) = self.tokenizer.ask(cells, question)?;
        Ok((ids[..at.start].to_vec(), ids[at.end..].to_vec()))
    }

    /// Returns how many tokens a picture of so many cells has with the longest question and the longest answer.
    pub(super) fn longest(&self, cells: usize) -> Result<usize, ModelError> {
        let asked = QUESTIONS.iter().map(|question| Ok(self.tokenizer.ask(cells, question)?.0.len()));
        let asked = asked.collect::<Result<Vec<_>, ModelError>>()?.into_iter().max();
        let answered = self.answers.iter().map(|answer| answer.len() - 1).max();
        Ok(asked.unwrap_or_default() + answered.unwrap_or_default())
    }

    /// Returns the tokens of the answer that names a label.
    pub(super) fn answer(&self, label: usize) -> Result<&[u32], ModelError> {
        let answer = self.answers.get(label).map(Vec::as_slice);
        answer.ok_or_else(|| ModelError::mismatch("label", format!("one below {}", self.answers.len()), label))
    }
}
