//! The command line: one module per command, each with its arguments and a `run` that returns an [`Outcome`].

use std::{
    io::{self, Write as _},
    path::Path,
    process::ExitCode,
};

use ::models::Scope;
use clap::{Parser, Subcommand};

use crate::head::LeftOut;

mod bench;
mod classify;
pub mod config;
mod demo;
mod device;
pub mod doctor;
mod drawing;
mod enroll;
mod eval;
mod generate;
mod inspect;
pub mod models;
mod progress;
pub mod run;
mod schema;
mod summary;
mod train;

/// Looks through cameras, judges what it sees on this machine, and says what is wrong, where and how sure it is.
#[derive(Debug, Parser)]
#[command(name = "loupe", version, max_term_width = 110, arg_required_else_help = true)]
#[command(after_help = "Exit codes: 0 done, 1 error, 2 usage, 3 a defect was found (only with --fail-on-defect).\n\
    First steps: `loupe demo`, then `loupe enroll --station NAME --good DIR` and `loupe inspect --station NAME PICTURE...`.")]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show the whole path on pictures that Loupe makes itself
    Demo(demo::DemoArgs),
    /// List, fetch, check or quantise models
    Models(models::ModelsArgs),
    /// Say what this machine offers and what is missing
    Doctor(doctor::DoctorArgs),
    /// Watch the cameras of a configuration and judge every part
    Run(run::RunArgs),
    /// Check a configuration file or describe what one may hold
    Config(config::ConfigArgs),
    /// Learn what good looks like, calibrate, and explain the threshold
    Enroll(enroll::EnrollArgs),
    /// Judge pictures: one report for each
    Inspect(inspect::InspectArgs),
    Eval(eval::EvalArgs),
    /// Learn to name your own classes, from class folders or labelled boxes
    Train(train::TrainArgs),
    /// Name what pictures show, by a head that `train` made
    Classify(classify::ClassifyArgs),
    /// Ask a vision-language model about pictures
    Generate(generate::GenerateArgs),
    /// Measure how fast a vision-language model runs here, beside another engine
    Bench(bench::BenchArgs),
    /// Print the JSON Schema of a report (`loupe.report/1`)
    ReportSchema,
}

/// How a command ended, when it did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It did what it was asked to do.
    Done,
    /// It did, found a defect, and was asked to say so with `--fail-on-defect`.
    DefectFound,
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Done => Self::SUCCESS,
            Outcome::DefectFound => Self::from(3),
        }
    }
}

impl Cli {
    /// Runs the chosen command and returns how it ended.
    ///
    /// # Errors
    /// One line that names the file or key, what was expected and what was found.
    pub fn run(self) -> anyhow::Result<Outcome> {
        match self.command {
            Command::Models(args) => models::run(&args),
            Command::Doctor(args) => doctor::run(&args),
            Command::Run(args) => run::run(&args),
            Command::Config(args) => config::run(args),
            Command::Demo(args) => args.run(),
            Command::Enroll(args) => args.run(),
            Command::Inspect(args) => args.run(),
            Command::Eval(args) => eval::run(&args),
            Command::Train(args) => args.run(),
            Command::Classify(args) => args.run(),
            Command::Generate(args) => args.run(),
            Command::Bench(args) => args.run(),
            Command::ReportSchema => print_json(&schemars::schema_for!(crate::report::Report)),
        }
    }
}

/// Prints `value` to standard output as indented JSON.
///
/// # Errors
/// When standard output cannot be written; a reader that went away (broken pipe) is not an error.
pub fn print_json(value: &impl serde::Serialize) -> anyhow::Result<Outcome> {
    let text = serde_json::to_string_pretty(value)?;
    print_line(&text)?;
    Ok(Outcome::Done)
}

/// Prints one line to standard output.
///
/// # Errors
/// When standard output cannot be written; a reader that went away (broken pipe) is not an error.
pub fn print_line(line: &str) -> io::Result<()> {
    match writeln!(io::stdout().lock(), "{line}") {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(io::Error::new(error.kind(), format!("standard output cannot be written: {error}"))),
        Ok(()) => Ok(()),
    }
}

/// Says what can be done with the domain in a file that was just written.
fn print_next_of_domain(file: &Path, scope: Scope) -> io::Result<()> {
    let domain = file.display();
    let (labelled, gated) = options_for(scope);
    print_line(&format!(
        "next: loupe eval TEST{labelled} --domain {domain} --output out; loupe inspect{gated} --domain {domain} PICTURE"
    ))
}

/// Returns the options with which what looks at this is measured, and with which it is used.
const fn options_for(scope: Scope) -> (&'static str, &'static str) {
    match scope {
        Scope::Picture => ("", ""),
        Scope::Places { .. } => (" --layout LAYOUT", " --station STATION"),
    }
}

/// Pictures that are named one by one when they are left out; the others are counted.
const NAMED_LEFT_OUT: usize = 12;

/// Says on standard error which pictures are left out and why.
fn warn_of_left_out(left_out: &[LeftOut]) -> io::Result<()> {
    let mut stderr = io::stderr().lock();
    for line in left_out_lines(left_out.iter().map(LeftOut::message)) {
        writeln!(stderr, "loupe: {line}")?;
    }
    Ok(())
}

/// Returns the first lines and how many more there are.
fn left_out_lines(mut left_out: impl Iterator<Item = String>) -> Vec<String> {
    let mut lines: Vec<String> = left_out.by_ref().take(NAMED_LEFT_OUT).collect();
    if let more @ 1.. = left_out.count() {
        lines.push(format!("{more} more left out"));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::head::Reason;

    #[test]
    fn a_dozen_pictures_that_are_left_out_are_named_and_the_others_counted() {
        let left_out = |count: usize| {
            (0..count).map(|n| LeftOut { path: format!("{n}.png").into(), reason: Reason::LearnedFrom }.message())
        };
        assert_eq!(left_out_lines(left_out(12)).len(), 12);
        let lines = left_out_lines(left_out(15));
        assert_eq!((lines.len(), lines[12].as_str()), (13, "3 more left out"));
        assert!(lines[11].starts_with("11.png: left out, leakage: "), "{}", lines[11]);
    }
}
