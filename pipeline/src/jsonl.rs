//! JSON Lines: whole lines only.

use std::{
    fs::File,
    io::{self, Write},
    path::Path,
};

use serde::Serialize;

use crate::{evidence::replace, record_error::RecordError, report::Report};

/// Writes a file of one line for each of `items`, all of them or nothing.
///
/// # Errors
/// When an item is no JSON or the file cannot be written.
pub(crate) fn write(path: &Path, items: impl IntoIterator<Item = impl Serialize>) -> io::Result<()> {
    let mut lines = Vec::new();
    for item in items {
        serde_json::to_writer(&mut lines, &item)?;
        lines.push(b'\n');
    }
    replace(path, &lines)
}

/// Whether anybody still reads the lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reader {
    /// The line was taken.
    Listens,
    /// The other end of the pipe is closed; nothing more is written, and that is no error.
    Gone,
}

/// Writes reports as JSON Lines. Each line goes out in one piece and is flushed, so that a reader that follows never sees
/// half a report, and several writers that append to one file do not mix their lines.
#[derive(Debug)]
pub struct JsonLines<W> {
    writer: W,
    name: String,
    reader: Reader,
    /// A line was cut short; the next one must not continue it.
    is_torn: bool,
}

impl JsonLines<File> {
    /// Returns a writer that appends to the file at `path`, made if it is not there.
    ///
    /// # Errors
    /// When the file cannot be opened for writing.
    pub fn append(path: &Path) -> Result<Self, RecordError> {
        let file = File::options().append(true).create(true).open(path);
        let file = file.map_err(|source| RecordError::from_io(path, source))?;
        Ok(Self::new(file, path.display().to_string()))
    }
}

impl<W: Write> JsonLines<W> {
    /// Returns a writer of lines; `name` stands for it in errors.
    pub fn new(writer: W, name: impl Into<String>) -> Self {
        Self { writer, name: name.into(), reader: Reader::Listens, is_torn: false }
    }

    /// Writes one line and returns whether it was taken.
    ///
    /// # Errors
    /// When the disk is full or the line cannot be written; a closed pipe is [`Reader::Gone`] instead.
    pub fn write(&mut self, report: &Report) -> Result<Reader, RecordError> {
        if self.reader == Reader::Gone {
            return Ok(Reader::Gone);
        }
        let mut line = if self.is_torn { vec![b'\n'] } else { Vec::new() };
        serde_json::to_writer(&mut line, report)
            .map_err(|source| RecordError::Json { report_id: report.report_id.to_string(), source })?;
        line.push(b'\n');
        let outcome = self.writer.write_all(&line).and_then(|()| self.writer.flush());
        self.is_torn = outcome.is_err();
        match outcome {
            Err(source) if source.kind() == io::ErrorKind::BrokenPipe => self.reader = Reader::Gone,
            outcome => outcome.map_err(|source| RecordError::from_io(&self.name, source))?,
        }
        Ok(self.reader)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::full_example;

    #[test]
    fn one_report_a_line_also_when_reopened() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("reports.jsonl");
        for _ in 0..2 {
            assert_eq!(JsonLines::append(&path).unwrap().write(&full_example()).unwrap(), Reader::Listens);
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<Report> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines, [full_example(), full_example()]);
        assert!(text.ends_with('\n'));
    }

    #[test]
    fn a_line_break_in_a_text_stays_inside_its_line() {
        let mut lines = JsonLines::new(Vec::new(), "memory");
        lines.write(&Report { reason: "two\nlines".to_owned(), ..full_example() }).unwrap();
        assert_eq!(String::from_utf8(lines.writer).unwrap().lines().count(), 1);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_full_disk_is_named() {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let error = JsonLines::new(full, "/dev/full").write(&full_example()).unwrap_err();
        assert_eq!(error.to_string(), "/dev/full: disk is full");
    }

    #[test]
    fn a_closed_pipe_ends_quietly() {
        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        let mut lines = JsonLines::new(writer, "pipe");
        for _ in 0..2 {
            assert_eq!(lines.write(&full_example()).unwrap(), Reader::Gone);
        }
    }
}
