//! `loupe train`: learn to name the user's own classes.

use std::{
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use clap::Args;
use models::{bundle::DEFAULT_BUNDLE, ort_engine::SessionConfig};

use super::{Outcome, print_json, print_line, progress};
use crate::{
    head::{HeadPlan, RESOLUTION_PX, Trained, train},
    kit::Kit,
};

/// Arguments of `loupe train`.
#[derive(Debug, Args)]
#[command(
    after_help = "The data are a folder for each class (DIR/good, DIR/scratch, ...) with two pictures or more in each, better twenty; or \
    folders DIR/train..., DIR/val... and DIR/test... of such folders, of which test parts are never learned from. Names of pictures \
    should tell their order: a fifth of each class is held out as a run of neighbours, because neighbours often show the same part.\n\n\
    A run that was interrupted goes on where it was when it is started again. Then measure on pictures that it has not seen: \
    `loupe eval TEST --head HEAD --output out`."
)]
pub(super) struct TrainArgs {
    /// Train a classification head; the vision encoder stays as it is
    #[arg(long)]
    head_only: bool,
    /// Folder of class folders
    #[arg(long, value_name = "DIR", required_if_eq("head_only", "true"))]
    data: Option<PathBuf>,
    /// Folder to write head, numbers, model card and charts to; new or empty
    #[arg(long, value_name = "DIR", required_if_eq("head_only", "true"))]
    output: Option<PathBuf>,
    /// Class folders that choose penalty and temperature, before the head is fitted to them as well [default: a fifth of the data]
    #[arg(long, value_name = "DIR")]
    validation: Option<PathBuf>,
    /// Chooses what is held out
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Side in pixels of what the encoder sees (a square of as many pixels): more finds smaller defects and takes longer
    #[arg(long, value_name = "PIXELS", default_value_t = RESOLUTION_PX)]
    resolution: u32,
    /// Licence of the pictures, for the model card
    #[arg(long, value_name = "TEXT", default_value = "not stated")]
    licence: String,
    /// Print head.json to standard output, and nothing else
    #[arg(long)]
    json: bool,
}

impl TrainArgs {
    /// Learns the head and says how well it does.
    ///
    /// # Errors
    /// One line that names the file or folder, what was expected and what was found.
    pub(super) fn run(self) -> anyhow::Result<Outcome> {
        let (true, Some(data), Some(output)) = (self.head_only, self.data, self.output) else {
            anyhow::bail!("train: expected --head-only, since only heads can be trained so far, found no such option");
        };
        let plan = HeadPlan {
            data,
            validation: self.validation,
            output,
            resolution_px: self.resolution,
            seed: self.seed,
            licence: self.licence,
        };
        let mut kit = Kit::new(DEFAULT_BUNDLE, SessionConfig::default())?;
        let bar = progress::bar(0, "encoding pictures");
        let trained = train(&plan, kit.encoder(plan.resolution_px)?, &mut |done, total| {
            bar.set_length(total as u64);
            bar.set_position(done as u64);
            if done == total {
                bar.set_message("fitting the head");
            }
        });
        bar.finish_and_clear();
        let trained = trained?;
        warn_of_left_out(&trained)?;
        if self.json { print_json(&trained) } else { explain(&trained, &plan.output) }
    }
}

fn warn_of_left_out(trained: &Trained) -> io::Result<()> {
    let mut stderr = io::stderr().lock();
    for left_out in &trained.left_out {
        writeln!(stderr, "loupe: {}", left_out.message())?;
    }
    Ok(())
}

fn explain(trained: &Trained, output: &Path) -> anyhow::Result<Outcome> {
    let (origin, validation) = (&trained.origin, &trained.validation);
    let n_train: usize = origin.n_train.iter().sum();
    print_line(&format!(
        "{}: {} classes, learned from {n_train} pictures and, once they had chosen the penalty, from {} others ({})",
        output.display(),
        origin.labels.len(),
        validation.n_images,
        trained.validation_source
    ))?;
    if !trained.left_out.is_empty() {
        print_line(&format!("  {} more were left out", trained.left_out.len()))?;
    }
    for line in validation.lines() {
        print_line(&format!("  {line}"))?;
    }
    print_line("  (on the pictures that chose penalty and temperature, before it was fitted to them as well)")?;
    let head = output.display();
    print_line(&format!("next: loupe eval TEST --head {head} --output out; loupe classify --head {head} PICTURE..."))?;
    Ok(Outcome::Done)
}
