//! The binary `loupe`.

use std::{
    io::{self, IsTerminal as _, Write as _},
    process::ExitCode,
};

use clap::Parser as _;
use pipeline::cli::Cli;
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    let cli = Cli::parse();
    // Logs go to standard error, so that `--json` on standard output stays clean.
    let filter = EnvFilter::try_from_env("LOUPE_LOG").unwrap_or_else(|_| EnvFilter::new("warn"));
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).with_target(false);
    logs.with_ansi(io::stderr().is_terminal()).init();
    match cli.run() {
        Ok(outcome) => outcome.into(),
        Err(error) => {
            // The outermost message names its causes. Nothing is left to be done when even standard error is gone.
            writeln!(io::stderr(), "loupe: {error}").ok();
            ExitCode::FAILURE
        }
    }
}
