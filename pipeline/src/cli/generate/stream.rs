use std::{
    io::{self, Write as _},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use models::{generate::Watch, tokenizer::TextTokenizer};

use super::super::print_line;

/// What is printed while a text is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Show {
    /// The text as it comes.
    Text,
    /// Nothing: it comes as a whole later.
    Nothing,
}

/// Looks on while a text is written; an interrupt from the keyboard ends it.
pub(super) struct Stream {
    tokenizer: Arc<TextTokenizer>,
    show: Show,
    has_begun: bool,
    /// Tokens whose text is not printed yet, because it ends within a character.
    pending: Vec<u32>,
    cancelled: Arc<AtomicBool>,
}

impl Stream {
    /// Returns an onlooker.
    ///
    /// # Errors
    /// When interrupts cannot be caught.
    pub(super) fn new(tokenizer: Arc<TextTokenizer>, show: Show) -> io::Result<Self> {
        let cancelled = Arc::new(AtomicBool::new(false));
        signal_hook::flag::register(signal_hook::consts::SIGINT, Arc::clone(&cancelled))?;
        Ok(Self { tokenizer, show, has_begun: false, pending: Vec::new(), cancelled })
    }

    /// Prints what is left and ends the line.
    ///
    /// # Errors
    /// When standard output cannot be written.
    pub(super) fn finish(mut self, yes_probability: Option<f64>) -> io::Result<()> {
        let rest = self.tokenizer.decode(&self.pending);
        self.print(&rest);
        print_line("")?;
        yes_probability.map_or(Ok(()), |probability| print_line(&format!("probability of yes: {probability:.3}")))
    }

    fn print(&mut self, text: &str) {
        // The model begins its answer with a space.
        let text = if self.has_begun { text } else { text.trim_start() };
        self.has_begun |= !text.is_empty();
        let mut output = io::stdout().lock();
        if write!(output, "{text}").and_then(|()| output.flush()).is_err() {
            // Nobody reads any more.
            self.cancelled.store(true, Ordering::Relaxed);
        }
    }
}

impl Watch for Stream {
    fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }

    fn appended(&mut self, ids: &[u32]) {
        if self.show == Show::Nothing {
            return;
        }
        self.pending.extend_from_slice(ids);
        let text = self.tokenizer.decode(&self.pending);
        if !text.ends_with(char::REPLACEMENT_CHARACTER) {
            self.pending.clear();
            self.print(&text);
        }
    }
}
