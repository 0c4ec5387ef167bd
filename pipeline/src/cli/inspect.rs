//! `loupe inspect`: one report for each picture.

use std::{
    io::{self, Write as _},
    path::PathBuf,
};

use cameras::{CameraError, FolderConfig, FolderMode, FolderSource};
use clap::Args;
use models::{ModelError, bundle::DEFAULT_BUNDLE, ort_engine::SessionConfig};

use super::{
    Outcome, print_line,
    summary::{Printer, Tally, refuse_early_end},
};
use crate::{
    Pipeline, RunSummary, Station, Stop,
    diagnosis::{EyesSource, good_classes},
    enrolment::StationCard,
    evidence::EvidencePolicy,
    home::{Home, StationName, UNNAMED},
    kit::{Kit, Text, settings_sha256},
    recorder::Recorder,
    report::{Report, Verdict},
    signals::SignalWatch,
    stage::{Diagnose, Record, Recording, StageError},
    store::RunInfo,
};

/// Paths that the title of a page names.
const TITLE_PATHS: usize = 3;

/// Arguments of `loupe inspect`.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own on the command line")]
pub(super) struct InspectArgs {
    /// Pictures and folders of pictures
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// The enrolled station whose good parts these are compared with; without one, trained eyes name what they know
    #[arg(long, value_name = "NAME")]
    station: Option<StationName>,
    /// Trained eyes that name what the pictures show: `crops`, `factory`, or the file or folder of another domain. Default without a
    /// station: those that know the picture best
    #[arg(long, value_name = "NAME", conflicts_with = "head")]
    domain: Option<String>,
    /// Your own trained eyes: the folder that `loupe train --head-only` made
    #[arg(long, value_name = "DIR")]
    head: Option<PathBuf>,
    /// Look into folders inside the folders too
    #[arg(long)]
    recursive: bool,
    /// Print one JSON report a line (`loupe.report/1`) instead of one line for a person
    #[arg(long)]
    json: bool,
    /// Keep reports, evidence and a page to look at in this folder
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Leave the language model out: plain sentences instead of chosen ones
    #[arg(long)]
    no_text: bool,
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
        let source = open(&config)?;
        let name = card.as_ref().map_or(UNNAMED, |card| card.name.as_str());
        let mut kit = Kit::new(DEFAULT_BUNDLE, SessionConfig::default())?;
        let reference = card.as_ref().map(|card| kit.reference(&home, card)).transpose()?;
        let eyes = self.eyes(&mut kit)?;
        let nothing_to_say = card.is_none() && !eyes.as_ref().is_some_and(|eyes| eyes.speaks());
        let station = Station::new(name, Box::new(source)).reference(reference).eyes(eyes);
        let tally = Tally::default();
        let stop = Stop::default();
        let printer = Printer { json: self.json, tally: tally.clone(), stop: stop.clone() };
        let eyes_name = self.domain.clone().or(self.head.as_ref().map(|head| head.display().to_string()));
        let settings = settings_sha256(&[name, eyes_name.as_deref().unwrap_or_default()]);
        let pipeline = Pipeline::new(settings).station(station);
        // Where nothing is found there is nothing to put into words.
        let text = if self.no_text || nothing_to_say { Text::Plain } else { Text::Written };
        let pipeline = kit.equip(pipeline, text)?.on_report(move |report| printer.print(report));
        let summary = self.record(pipeline, &stop)?;
        tally.check()?;
        refuse_early_end(&summary)?;
        if !self.json && tally.total() > 1 {
            print_line(&tally.line())?;
        }
        Ok(if self.fail_on_defect && tally.count(Verdict::Fail) > 0 { Outcome::DefectFound } else { Outcome::Done })
    }
}

impl InspectArgs {
    /// Returns the trained eyes that were asked for. Where nothing was, neither a station, all domains look; without their files a
    /// warning says so, and every picture is left to a person.
    fn eyes(&self, kit: &mut Kit) -> anyhow::Result<Option<Box<dyn Diagnose>>> {
        if let Some(name) = &self.domain {
            return kit.eyes(&EyesSource::Domain(name.clone())).map(Some);
        }
        if let Some(folder) = self.head.clone() {
            return kit.eyes(&EyesSource::Head { folder, good_classes: good_classes() }).map(Some);
        }
        // Whoever names a station wants what is enrolled for it.
        if self.station.is_some() {
            return Ok(None);
        }
        match kit.eyes(&EyesSource::EveryDomain) {
            Ok(eyes) => Ok(Some(eyes)),
            Err(error) if matches!(error.downcast_ref(), Some(ModelError::MissingFile { .. })) => {
                tracing::warn!(%error, "no trained eyes, every picture goes to a person");
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Returns what the page is called: by the paths, unless they are too many for a title.
    fn title(&self) -> String {
        let name = |path: &PathBuf| match path.file_name().filter(|_| path.is_file()) {
            Some(name) => name.to_string_lossy().into_owned(),
            None => path.display().to_string(),
        };
        let paths: Vec<_> = self.paths.iter().take(TITLE_PATHS).map(name).collect();
        match self.paths.len() - paths.len() {
            0 => format!("Inspection of {}", paths.join(", ")),
            more => format!("Inspection of {} and {more} more", paths.join(", ")),
        }
    }

    /// Runs `pipeline`, keeping its reports where the user wants them kept.
    fn record(&self, pipeline: Pipeline, stop: &Stop) -> anyhow::Result<RunSummary> {
        let _signals = SignalWatch::start(stop.clone())?;
        let Some(folder) = &self.output else {
            return Ok(pipeline.run(Box::new(Unrecorded::default()), stop)?);
        };
        let info = RunInfo::new(self.title(), String::new());
        let run = Recorder::open(folder, info, EvidencePolicy::Suspects)?.run(pipeline, stop)?;
        if !self.json {
            print_line(&format!("report: {}", run.page.display()))?;
        }
        Ok(run.summary)
    }
}

/// Opens the pictures, and says of folders in which there are only other folders how to look into those.
fn open(config: &FolderConfig) -> anyhow::Result<FolderSource> {
    let source = FolderSource::open(config, "inspect").map_err(|error| match error {
        CameraError::EmptyFolder { .. } if !config.recursive => {
            anyhow::anyhow!("{error}; folders in it are looked into with --recursive")
        }
        error => error.into(),
    })?;
    for folder in source.unopened() {
        let folder = folder.display();
        writeln!(io::stderr(), "loupe: {folder}: no picture but in folders in it, which --recursive looks into")?;
    }
    Ok(source)
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
