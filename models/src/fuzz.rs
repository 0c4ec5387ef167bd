//! Mutation fuzzing of what reads files from outside: tests that run for as long as one asks.
//!
//! ```sh
//! LOUPE_FUZZ_SECONDS=600 cargo nextest run --release -p models --run-ignored only --no-capture fuzz_gguf
//! ```
//!
//! Inputs are changes of good files, and changes of those changes that brought a new kind of error. A panic, a case of more than two
//! seconds or one that takes more than 256 MB fails the test; its input stays in a folder that the message names. So does that of a
//! case that never ends or aborts, as the only file there.

use std::{
    collections::BTreeSet,
    env, fs,
    panic::{self, AssertUnwindSafe},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use crate::ModelError;

/// Says how long a test fuzzes.
const SECONDS_VARIABLE: &str = "LOUPE_FUZZ_SECONDS";
const DEFAULT_SECONDS: u64 = 10;
const SLOW: Duration = Duration::from_secs(2);
const MUCH_BYTES: u64 = 256 << 20;
/// Inputs that are kept as starts of others.
const CORPUS_MAX: usize = 500;
/// Numbers at which readers decide.
const NUMBERS: [u64; 12] =
    [0, 1, 2, 255, 256, 0x7fff_ffff, 0xffff_ffff, 0x1_0000_0000, 1 << 40, 1 << 62, i64::MAX as u64, u64::MAX];

/// What is fuzzed.
pub(crate) struct Target<'a> {
    /// The name of the file that is read.
    pub(crate) file: &'a str,
    /// Good files.
    pub(crate) seeds: Vec<Vec<u8>>,
    /// Pieces that mean something in such files.
    pub(crate) words: &'a [&'a str],
    /// Up to which byte of a file most changes are made.
    pub(crate) interesting_len: usize,
}

impl Target<'_> {
    /// Calls `read` with the path of one input after the other.
    pub(crate) fn run(&self, read: impl Fn(&Path) -> Result<(), ModelError>) {
        let seconds = env::var(SECONDS_VARIABLE).map_or(DEFAULT_SECONDS, |text| text.parse().unwrap());
        let folder = tempfile::tempdir().unwrap().keep();
        let mut state = State { folder: folder.clone(), random: 7, corpus: self.seeds.clone(), known: BTreeSet::new() };
        for seed in &self.seeds {
            let path = state.write(self.file, seed);
            read(&path).unwrap();
        }
        let (started, mut report) = (Instant::now(), Report::default());
        while started.elapsed() < Duration::from_secs(seconds) {
            let input = state.mutate(self);
            let path = state.write(self.file, &input);
            report.count(state.judge(input, || read(&path)));
        }
        fs::remove_dir_all(folder).unwrap();
        report.print(self.file, &state);
    }
}

#[derive(Debug, Default)]
struct Report {
    cases: u64,
    taken: u64,
    slowest: Duration,
}

impl Report {
    fn count(&mut self, (elapsed, is_taken): (Duration, bool)) {
        self.cases += 1;
        self.taken += u64::from(is_taken);
        self.slowest = self.slowest.max(elapsed);
    }

    #[expect(clippy::print_stdout, reason = "the counts are what somebody fuzzes for")]
    fn print(&self, file: &str, state: &State) {
        let Self { cases, taken, slowest } = self;
        let kinds = state.known.len();
        println!("{file}: {cases} inputs, {taken} of them taken, {kinds} kinds of errors, slowest {slowest:?}");
    }
}

struct State {
    folder: PathBuf,
    random: u64,
    corpus: Vec<Vec<u8>>,
    /// Kinds of errors.
    known: BTreeSet<String>,
}

impl State {
    fn write(&self, file: &str, input: &[u8]) -> PathBuf {
        let path = self.folder.join(file);
        // Writing over a file waits for the disk on some file systems; writing a new one does not.
        _ = fs::remove_file(&path);
        fs::write(&path, input).unwrap();
        path
    }

    /// Returns how long the case took and whether the file was taken.
    fn judge(&mut self, input: Vec<u8>, read: impl Fn() -> Result<(), ModelError>) -> (Duration, bool) {
        let (before, started) = (peak_bytes(), Instant::now());
        let result = panic::catch_unwind(AssertUnwindSafe(read));
        let (elapsed, bytes) = (started.elapsed(), peak_bytes() - before);
        let place = self.folder.display();
        let result = result.unwrap_or_else(|_| panic!("the input in {place} makes the reader panic"));
        assert!(elapsed < SLOW, "the input in {place} takes {elapsed:?}");
        assert!(bytes < MUCH_BYTES, "the input in {place} takes {bytes} bytes");
        let kind = result.as_ref().map_or_else(kind_of, |()| "taken".to_owned());
        if self.known.insert(kind) && self.corpus.len() < CORPUS_MAX {
            self.corpus.push(input);
        }
        (elapsed, result.is_ok())
    }

    /// A linear congruential generator (constants of Knuth's MMIX): the same inputs in every run.
    fn below(&mut self, end: usize) -> usize {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 33) as usize % end.max(1)
    }

    fn mutate(&mut self, target: &Target<'_>) -> Vec<u8> {
        // Every other one is a change of a good file.
        let starts = [self.corpus.len(), target.seeds.len()][self.below(2)];
        let pick = self.below(starts);
        let mut input = self.corpus[pick].clone();
        let most = self.below(6);
        for _ in 0..=self.below(most + 1) {
            let end = if self.below(8) == 0 { input.len() } else { input.len().min(target.interesting_len) };
            let at = self.below(end + 1).min(input.len());
            self.change(&mut input, at, target.words);
        }
        input
    }

    fn change(&mut self, input: &mut Vec<u8>, at: usize, words: &[&str]) {
        let rest = input.len() - at;
        match self.below(8) {
            0 if rest > 0 => input[at] ^= 1 << self.below(8),
            1 if rest > 0 => input[at] = self.below(256) as u8,
            2 | 3 => {
                let number = NUMBERS[self.below(NUMBERS.len())].wrapping_sub(self.below(3) as u64).to_le_bytes();
                let len = rest.min([1, 4, 8][self.below(3)]);
                input[at..at + len].copy_from_slice(&number[..len]);
            }
            4 if self.below(4) == 0 => input.truncate(at),
            4 => drop(input.drain(at..at + self.below(rest.min(32) + 1))),
            5 => {
                let word = words[self.below(words.len())].repeat([1, 1, 1, 300][self.below(4)]);
                input.splice(at..at, word.into_bytes());
            }
            6 => {
                let word = words[self.below(words.len())].as_bytes();
                let len = rest.min(word.len());
                input[at..at + len].copy_from_slice(&word[..len]);
            }
            _ => {
                let piece = input[at..at + self.below(rest.min(64) + 1)].to_vec();
                let to = self.below(input.len() + 1);
                input.splice(to..to, piece);
            }
        }
    }
}

/// Returns an error without what is particular to one input: file, what was found, and all but the first words of what was expected.
fn kind_of(error: &ModelError) -> String {
    let text = error.to_string();
    let expected = text.split(": expected ").last().unwrap_or_default().split(", found ").next().unwrap_or_default();
    expected.chars().filter(|letter| letter.is_ascii_lowercase() || *letter == ' ').take(24).collect()
}

/// Returns the most address space that this process has had.
fn peak_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmPeak:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()).and_then(|number| number.parse::<u64>().ok());
    kilobytes.unwrap_or(0) * 1024
}
