//! `loupe run`: the daemon. Every station of a configuration is watched until its camera ends or a signal comes.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;

use super::{
    Outcome, print_line,
    summary::{Printer, Tally},
};
use crate::{
    Pipeline, Station, Stop,
    config::{Config, StationConfig},
    enrolment::{EnrolmentError, StationCard},
    home::Home,
    kit::{Kit, Text},
    recorder::{RecordedRun, Recorder},
    signals::SignalWatch,
    stage::{Diagnose, Reference},
    store::RunInfo,
};

/// Arguments of `loupe run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// The configuration file; `loupe config check` finds its mistakes
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Print one JSON report a line (`loupe.report/1`) instead of one line for a person
    #[arg(long)]
    json: bool,
}

/// Runs `loupe run`.
///
/// The first SIGINT or SIGTERM ends capturing and reports what is in flight; the second ends at once. Pictures of watched
/// folders that an earlier run reported, and that did not change since, are left out.
///
/// # Errors
/// When the configuration has a mistake, a camera or a reference cannot be opened, another Loupe uses the data folder, or
/// the run ends before its time.
pub fn run(args: &RunArgs) -> anyhow::Result<Outcome> {
    let config = Config::load(&args.config)?;
    let stop = Stop::default();
    let _signals = SignalWatch::start(stop.clone()).context("signal handlers cannot be installed")?;
    let info = RunInfo::new(format!("run {}", args.config.display()), config.effective.clone());
    let recorder = Recorder::open(config.home.root(), info, config.evidence)?;
    let tally = Tally::default();
    let printer = Printer { json: args.json, tally: tally.clone(), stop: stop.clone() };
    let pipeline = pipeline(&config)?.on_report(move |report| printer.print(report));
    let RecordedRun { summary, page } = recorder.run(pipeline, &stop)?;
    tally.check()?;
    if !args.json {
        print_line(&format!("{}; {}; {}", tally.line(), summary.ledger_line(), page.display()))?;
    }
    Ok(Outcome::Done)
}

fn pipeline(config: &Config) -> anyhow::Result<Pipeline> {
    let mut kit = Kit::new(&config.models.bundle, config.models.session())?;
    let mut pipeline = Pipeline::new(config.sha256.clone());
    for station in &config.stations {
        pipeline = pipeline.station(open(station, &config.home, &mut kit)?);
    }
    kit.equip(pipeline, if config.models.describe { Text::Written } else { Text::Plain })
}

fn open(config: &StationConfig, home: &Home, kit: &mut Kit) -> anyhow::Result<Station> {
    let source = cameras::open(&config.camera, &config.camera_name)?;
    let eyes = config.eyes.as_ref().map(|eyes| kit.eyes(eyes)).transpose()?;
    Ok(Station::new(config.name.as_str(), source)
        .overload(config.overload)
        .limits(config.limits.clone())
        .reference(reference((config, eyes.as_deref()), home, kit)?)
        .eyes(eyes)
        .policy(config.policy.clone()))
}

/// Returns what is enrolled for a station. One without stays in service: its eyes judge, or else every part goes to a person.
fn reference(
    (config, eyes): (&StationConfig, Option<&dyn Diagnose>),
    home: &Home,
    kit: &mut Kit,
) -> anyhow::Result<Option<Reference>> {
    match StationCard::open(home, &config.reference) {
        Ok(card) => kit.reference(home, &card).map(Some),
        Err(error @ EnrolmentError::NotEnrolled { .. }) => {
            if !eyes.is_some_and(Diagnose::judges) {
                tracing::warn!(station = %config.name, %error, "nothing enrolled, every part goes to a person");
            }
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}
