//! `loupe config`: finds mistakes in a configuration and describes what one may hold.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{Outcome, print_json, print_line};
use crate::config::{Config, schema};

/// Arguments of `loupe config`.
#[derive(Debug, Args)]
pub struct ConfigArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Check a configuration file, with the `LOUPE__SECTION__KEY` variables of the environment
    Check {
        /// The file
        file: PathBuf,
        /// Print the configuration as it takes effect, with every default
        #[arg(long)]
        effective: bool,
    },
    /// Print the JSON Schema of a configuration file
    Schema,
}

/// Runs `loupe config`.
///
/// # Errors
/// When the configuration has a mistake: one line with its place and what was expected.
pub fn run(args: ConfigArgs) -> anyhow::Result<Outcome> {
    match args.action {
        Action::Schema => print_json(&schema()),
        Action::Check { file, effective } => {
            let config = Config::load(&file)?;
            if effective {
                print_line(config.effective.trim_end())?;
            } else {
                let names: Vec<&str> = config.stations.iter().map(|station| station.name.as_str()).collect();
                print_line(&format!("{}: ok, stations: {}", file.display(), names.join(", ")))?;
            }
            Ok(Outcome::Done)
        }
    }
}
