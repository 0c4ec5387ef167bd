//! `loupe enroll`: learn what good looks like.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use models::{Conductor, Template, TemplateOptions};
use tracing::warn;

use super::{Outcome, print_json, print_line};
use crate::{
    enrolment::{self, Learned, StationCard},
    golden,
    home::{Home, StationName},
};

/// Arguments of `loupe enroll`.
#[derive(Debug, Args)]
#[command(
    after_help = "Sixteen good pictures are a start; fifty make the promise about false alarms three times as strong. Take them \
    as the station will: same camera, light and distance, and all the variety that good parts have."
)]
pub(super) struct EnrollArgs {
    /// Name of the station; enrolling again replaces what it learned
    #[arg(long, value_name = "NAME")]
    station: StationName,
    /// Folder (or files) with good pictures only
    #[arg(long, value_name = "DIR", required = true, num_args = 1..)]
    good: Vec<PathBuf>,
    /// What the part is called in reports [default: the station's name]
    #[arg(long, value_name = "TEXT")]
    product: Option<String>,
    /// Compare position by position: for parts that always arrive in the same place
    #[arg(long)]
    template: bool,
    /// With --template: how far a part may lie from its place, in pixels
    #[arg(long, value_name = "PIXELS", requires = "template")]
    max_shift: Option<u32>,
    /// With --template: how far an edge may lie off, in pixels
    #[arg(long, value_name = "PIXELS", requires = "template")]
    tolerance: Option<u32>,
    /// With --template: the part is a bare circuit board with copper of this brightness; its defects get names
    #[arg(long, value_enum, requires = "template")]
    bare_board: Option<Copper>,
    /// Print the station's card as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Copper {
    Bright,
    Dark,
}

impl EnrollArgs {
    /// Learns the station and explains its threshold.
    ///
    /// # Errors
    /// When no good picture can be read, they do not fit together, or the station cannot be written.
    pub(super) fn run(self) -> anyhow::Result<Outcome> {
        let home = Home::locate()?;
        let golden = golden::read(self.good.clone())?;
        for broken in &golden.broken {
            warn!("left out: {}", broken.error);
        }
        let learned = self.learn(&golden.frames)?;
        let product = self.product.as_deref().unwrap_or(self.station.as_str());
        let card = enrolment::save(&home, &self.station, product, (&learned, golden.frames.len()))?;
        if self.json { print_json(&card) } else { explain(&card, golden.broken.len()) }
    }

    fn learn(&self, golden: &[cameras::Frame]) -> anyhow::Result<Learned> {
        let template = Template::from_golden(golden, self.template_options())?;
        Ok(Learned::Template(Box::new(template)))
    }

    fn template_options(&self) -> TemplateOptions {
        let conductor = self.bare_board.map(|copper| match copper {
            Copper::Bright => Conductor::Bright,
            Copper::Dark => Conductor::Dark,
        });
        let default = TemplateOptions::default();
        TemplateOptions {
            max_shift_px: self.max_shift.unwrap_or(default.max_shift_px),
            tolerance_px: self.tolerance.unwrap_or(default.tolerance_px),
            conductor,
            ..default
        }
    }
}

fn explain(card: &StationCard, left_out: usize) -> anyhow::Result<Outcome> {
    print_line(&format!("station {}: learned from {} good pictures", card.name, card.golden_images))?;
    if left_out > 0 {
        print_line(&format!("  {left_out} more could not be read and were left out"))?;
    }
    print_line(&format!("  {}", card.explanation))?;
    print_line("  (true for parts that are as good as these, photographed as these were)")?;
    print_line(&format!("next: loupe inspect --station {} PICTURE...", card.name))?;
    Ok(Outcome::Done)
}
