//! `loupe enroll`: learn what good looks like.

use std::path::PathBuf;

use cameras::Frame;
use clap::{Args, ValueEnum};
use models::{
    BankOptions, Conductor, DEFAULT_FALSE_ALARM_RATIO, Defects, Enrolment, Rotations, Surface, Template,
    TemplateOptions, bundle::DEFAULT_BUNDLE, ort_engine::SessionConfig,
};
use tracing::warn;

use super::{Outcome, print_json, print_line, progress};
use crate::{
    enrolment::{self, Learned, StationCard},
    golden,
    home::{Home, StationName},
    kit::Kit,
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
    /// Share of good parts that may be rejected, 0 to 0.5: fewer false alarms let more defects through. With n good pictures
    /// it cannot be below 1 / (n + 1)
    #[arg(long, value_name = "RATIO", default_value_t = DEFAULT_FALSE_ALARM_RATIO)]
    false_alarms: f64,
    /// What the part is called in reports [default: the station's name]
    #[arg(long, value_name = "TEXT")]
    product: Option<String>,
    #[command(flatten)]
    bank: BankArgs,
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

/// Side of what the encoder sees, unless told otherwise.
const RESOLUTION_PX: u32 = 320;

/// How a bank of golden features is made.
#[derive(Debug, Clone, Copy, Args)]
pub(super) struct BankArgs {
    /// Side in pixels of what the encoder sees (a square of as many pixels): more finds smaller defects and takes longer
    #[arg(long, value_name = "PIXELS", default_value_t = RESOLUTION_PX, conflicts_with = "template")]
    pub(super) resolution: u32,
    /// Good parts have a texture that differs from part to part: ground, cast, woven or grown surfaces
    #[arg(long, conflicts_with = "template")]
    varied: bool,
    /// Parts also arrive turned by a quarter, a half or three quarters
    #[arg(long, conflicts_with = "template")]
    rotations: bool,
    /// Learn also from defects that are painted on the good pictures: fewer may escape, and enrolling takes two to three times as long
    #[arg(long, conflicts_with = "template")]
    painted: bool,
    /// Where the random choices of a bank start; the same pictures and seed give the same bank
    #[arg(long, value_name = "N", default_value_t = 0, conflicts_with = "template")]
    seed: u64,
}

impl BankArgs {
    /// Returns the options that the flags stand for.
    pub(super) const fn options(self) -> BankOptions {
        let surface = if self.varied { Surface::Varied } else { Surface::Alike };
        let rotations = if self.rotations { Rotations::QuarterTurns } else { Rotations::AsEnrolled };
        let defects = if self.painted { Defects::Painted } else { Defects::Unseen };
        BankOptions { surface, rotations, defects, seed: self.seed }
    }

    /// Returns whether a flag says anything.
    pub(super) fn says_anything(self) -> bool {
        self.options() != BankOptions::default() || self.resolution != RESOLUTION_PX
    }
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

    fn learn(&self, golden: &[Frame]) -> anyhow::Result<Learned> {
        if self.template {
            let waiting = progress::spinner("learning every position");
            let template = Template::from_golden(golden, self.template_options())?;
            waiting.finish_and_clear();
            return Ok(Learned::Template(Box::new(template.with_false_alarm_ratio(self.false_alarms)?)));
        }
        let mut kit = Kit::new(DEFAULT_BUNDLE, SessionConfig::default())?;
        let encoder = kit.encoder(self.bank.resolution)?;
        let enrolment = Enrolment::new(self.bank.options(), encoder, golden);
        if let Some(warning) = enrolment.mixed_sizes() {
            warn!("{warning}");
        }
        let bar = progress::bar(golden.len() as u64, "encoding good parts");
        let bank = enrolment.finish(encoder, progress::counting(&bar))?;
        bar.finish_and_clear();
        let bank = bank.with_false_alarm_ratio(self.false_alarms)?;
        Ok(Learned::Bank(Box::new(bank), self.bank.resolution))
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
