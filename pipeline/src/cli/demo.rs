//! `loupe demo`: the whole path on pictures that Loupe makes itself.

mod naming;

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use cameras::{DefectKind, Frame, FrameId, SyntheticConfig, SyntheticLine, SyntheticSource};
use clap::Args;
use models::{Template, TemplateOptions, bundle::DEFAULT_BUNDLE, ort_engine::SessionConfig};

use super::{Outcome, print_json, print_line, progress, summary::refuse_early_end};
use crate::{
    Pipeline, RunSummary, Station, Stop,
    diagnosis::{EyesSource, good_classes},
    enrolment::{self, Learned, StationCard},
    evidence::EvidencePolicy,
    home::{Home, StationName},
    kit::{Kit, Text, settings_sha256},
    recorder::{RecordedRun, Recorder},
    report::{Defect, Report, Verdict},
    signals::SignalWatch,
    store::RunInfo,
};

/// Arguments of `loupe demo`.
#[derive(Debug, Args)]
pub(super) struct DemoArgs {
    /// Where the demo's station, database, evidence and report go
    #[arg(long, value_name = "DIR", default_value = "loupe-demo")]
    output: PathBuf,
    /// Boards to inspect
    #[arg(long, value_name = "N", default_value_t = 40)]
    frames: u64,
    /// Good boards to learn from
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u64).range(2..=200))]
    golden: u64,
    /// Where every random choice starts; the same seed gives the same boards
    #[arg(long, value_name = "N", default_value_t = 7)]
    seed: u64,
    /// Leave the language model out: plain sentences instead of chosen ones
    #[arg(long)]
    no_text: bool,
    /// Print what was found as JSON
    #[arg(long)]
    json: bool,
}

/// A third of the boards are bad, so that a short demo shows every kind.
const DEFECT_RATIO: f64 = 0.35;
/// Two boards may lie 12 px and 1.6 degrees apart.
const MAX_SHIFT_PX: u32 = 24;

/// What the demo knows about one board and what Loupe said.
struct Judged {
    truth: Option<DefectKind>,
    verdict: Verdict,
    /// A found region overlaps the true one.
    located: bool,
    /// Trained eyes call it what it is.
    named: bool,
}

/// Scores of the demo, as printed.
#[derive(Debug, serde::Serialize)]
struct Findings {
    boards: usize,
    /// By kind of defect: bad boards, those rejected, those whose defect was also located, those where it was also named.
    kinds: BTreeMap<&'static str, [usize; 4]>,
    good: usize,
    good_passed: usize,
    frames_per_s: f64,
    ledger: Vec<crate::ledger::LedgerEntry>,
    report: PathBuf,
}

impl DemoArgs {
    /// Makes boards, learns the good ones, inspects the rest and writes a report.
    ///
    /// # Errors
    /// When the output folder cannot be written or a model file is damaged.
    pub(super) fn run(self) -> anyhow::Result<Outcome> {
        let home = Home::at(&self.output);
        let name: StationName = "synthetic-line".parse()?;
        let card = self.enrol(&home, &name)?;
        self.say(&format!("learned {} good boards: {}", card.golden_images, card.explanation))?;
        let naming::Learned { data, head } = naming::learned(home.root(), self.seed)?;
        let (labelled, kinds) = (naming::BOARDS_A_KIND, DefectKind::ALL.len());
        let boards = format!("{labelled} labelled boards of each, in {}", data.display());
        self.say(&format!("knows what {kinds} defects are called, from {boards}"))?;
        let eyes = EyesSource::Head { folder: head, good_classes: good_classes() };
        let findings = self.inspect(&home, &card, &eyes)?;
        if self.json {
            return print_json(&findings);
        }
        print_findings(&findings)?;
        Ok(Outcome::Done)
    }

    fn say(&self, line: &str) -> std::io::Result<()> {
        if self.json { Ok(()) } else { print_line(line) }
    }

    fn enrol(&self, home: &Home, name: &StationName) -> anyhow::Result<StationCard> {
        let line = SyntheticLine::new(self.seed, 0.0);
        let bar = progress::bar(self.golden, "drawing good boards");
        let golden: Vec<Frame> = (0..self.golden)
            .map(|seq| {
                bar.inc(1);
                let picture = line.golden(seq).picture;
                Frame::from_rgb_image(FrameId { source: "golden".into(), seq }, picture)
            })
            .collect();
        bar.finish_and_clear();
        let bar = progress::spinner("learning what good looks like");
        let learned = Template::from_golden(
            &golden,
            TemplateOptions { max_shift_px: MAX_SHIFT_PX, ..TemplateOptions::default() },
        )?;
        bar.finish_and_clear();
        let learned = Learned::Template(Box::new(learned));
        Ok(enrolment::save(home, name, "synthetic board", (&learned, golden.len()))?)
    }

    fn inspect(&self, home: &Home, card: &StationCard, eyes: &EyesSource) -> anyhow::Result<Findings> {
        let config = SyntheticConfig {
            seed: self.seed,
            defect_ratio: DEFECT_RATIO,
            frames: Some(self.frames),
            interval_millis: 0,
        };
        let source = SyntheticSource::open(&config, "synthetic")?;
        let line = source.line();
        let settings = toml::to_string_pretty(&config)?;
        let info = RunInfo::new("Demo: a synthetic line of circuit boards", settings.clone());
        let recorder = Recorder::open(home.root(), info, EvidencePolicy::Suspects)?;
        let judged = Arc::new(Mutex::new(Vec::new()));
        let bar = progress::bar(self.frames, "inspecting");
        let stop = Stop::default();
        let _signals = SignalWatch::start(stop.clone())?;
        let mut kit = Kit::new(DEFAULT_BUNDLE, SessionConfig::default())?;
        let station = Station::new(card.name.as_str(), Box::new(source));
        let station = station.reference(Some(kit.reference(home, card)?)).eyes(Some(kit.eyes(eyes)?));
        let pipeline = Pipeline::new(settings_sha256(&[&settings])).station(station);
        let pipeline = kit.equip(pipeline, if self.no_text { Text::Plain } else { Text::Written })?;
        let shared = (Arc::clone(&judged), bar.clone());
        let pipeline = pipeline.on_report(move |report| {
            shared.0.lock().unwrap_or_else(PoisonError::into_inner).push(judge(report, line));
            shared.1.inc(1);
        });
        let RecordedRun { summary, page } = recorder.run(pipeline, &stop)?;
        bar.finish_and_clear();
        refuse_early_end(&summary)?;
        let judged = judged.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(findings(&judged, &summary, page))
    }
}

fn judge(report: &Report, line: SyntheticLine) -> Judged {
    let truth = line.truth(report.source.frame);
    let hits = |defect: &&Defect| truth.is_some_and(|truth| defect.bbox.iou(truth.rect_in_frame) > 0.0);
    let found: Vec<&Defect> = report.defects.iter().filter(hits).collect();
    Judged {
        located: !found.is_empty(),
        named: found.iter().any(|defect| truth.is_some_and(|truth| defect.code == truth.kind.code())),
        truth: truth.map(|truth| truth.kind),
        verdict: report.verdict,
    }
}

fn findings(judged: &[Judged], summary: &RunSummary, report: PathBuf) -> Findings {
    let mut kinds = BTreeMap::new();
    for one in judged {
        let Some(kind) = one.truth else { continue };
        let row: &mut [usize; 4] = kinds.entry(kind.code()).or_default();
        let rejected = one.verdict == Verdict::Fail;
        row[0] += 1;
        row[1] += usize::from(rejected);
        row[2] += usize::from(rejected && one.located);
        row[3] += usize::from(rejected && one.named);
    }
    let good: Vec<_> = judged.iter().filter(|one| one.truth.is_none()).collect();
    let elapsed_secs = summary.elapsed.as_secs_f64();
    Findings {
        boards: judged.len(),
        kinds,
        good: good.len(),
        good_passed: good.iter().filter(|one| one.verdict == Verdict::Pass).count(),
        frames_per_s: if elapsed_secs > 0.0 { judged.len() as f64 / elapsed_secs } else { 0.0 },
        ledger: summary.ledger.clone(),
        report,
    }
}

fn print_findings(findings: &Findings) -> std::io::Result<()> {
    print_line("")?;
    print_line("defect             boards  rejected  located  named")?;
    for (code, [boards, rejected, located, named]) in &findings.kinds {
        print_line(&format!("{code:<18} {boards:>6}  {rejected:>8}  {located:>7}  {named:>5}"))?;
    }
    let Findings { good, good_passed, .. } = findings;
    print_line(&format!("{:<18} {good:>6}  {:>8}", "(good)", good - good_passed))?;
    print_line("")?;
    print_line(&format!(
        "{} boards, {:.1} a second, the drawing of the boards included",
        findings.boards, findings.frames_per_s
    ))?;
    for entry in &findings.ledger {
        print_line(&format!("ledger {entry}"))?;
    }
    print_line(&format!("report: {}", findings.report.display()))?;
    print_line("")?;
    print_line("next, with pictures of your own:")?;
    print_line("  loupe inspect leaf.jpg                          what a leaf or a steel surface shows")?;
    print_line("  loupe enroll --station lid --good photos/good   learn what good parts look like")
}
