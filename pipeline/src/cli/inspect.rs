//! `loupe inspect`: one report for each picture.

use std::path::PathBuf;

use cameras::{FolderConfig, FolderMode, FolderSource};
use clap::Args;

use super::{
    Outcome, print_line,
    summary::{Printer, Tally},
};
use crate::{
    Pipeline, Station, Stop,
    enrolment::StationCard,
    home::{Home, StationName},
    report::{Report, Verdict},
    stage::{Record, Recording, StageError},
};

/// Arguments of `loupe inspect`.
#[derive(Debug, Args)]
pub(super) struct InspectArgs {
    /// Pictures and folders of pictures
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// The enrolled station whose good parts these are compared with; without one every picture is left to a person
    #[arg(long, value_name = "NAME")]
    station: Option<StationName>,
    /// Look into folders inside the folders too
    #[arg(long)]
    recursive: bool,
    /// Print one JSON report a line (`loupe.report/1`) instead of one line for a person
    #[arg(long)]
    json: bool,
    /// End with exit code 3 when a picture fails
    #[arg(long)]
    fail_on_defect: bool,
}

impl InspectArgs {
    /// Judges every picture and prints its report as soon as it is known.
    ///
    /// # Errors
    /// When a path is missing, the station is not enrolled or its files are damaged. A picture that cannot be read gives an
    /// `invalid` report instead.
    pub(super) fn run(self) -> anyhow::Result<Outcome> {
        let home = Home::locate()?;
        let card = self.station.as_ref().map(|name| StationCard::open(&home, name)).transpose()?;
        let config = FolderConfig { paths: self.paths.clone(), mode: FolderMode::Once, recursive: self.recursive };
        let source = FolderSource::open(&config, "inspect")?;
        let name = card.as_ref().map_or("unnamed", |card| card.name.as_str());
        let reference = card.as_ref().map(|card| card.reference(&home)).transpose()?;
        let station = Station::new(name, Box::new(source)).reference(reference);
        let tally = Tally::default();
        let stop = Stop::default();
        let printer = Printer { json: self.json, tally: tally.clone(), stop: stop.clone() };
        let pipeline = Pipeline::new(crate::kit::settings_sha256(&[name])).station(station);
        pipeline.on_report(move |report| printer.print(report)).run(Box::new(Unrecorded::default()), &stop)?;
        if !self.json && tally.total() > 1 {
            print_line(&tally.line())?;
        }
        Ok(if self.fail_on_defect && tally.count(Verdict::Fail) > 0 { Outcome::DefectFound } else { Outcome::Done })
    }
}

/// Numbers reports without storing them.
#[derive(Debug, Default)]
struct Unrecorded {
    next_seq: u64,
}

impl Record for Unrecorded {
    fn record(&mut self, recording: Recording<'_>) -> Result<Report, StageError> {
        let seq = self.next_seq;
        self.next_seq += 1;
        Ok(Report { seq, ..recording.report })
    }
}
