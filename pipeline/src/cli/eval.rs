use std::{
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use clap::Args;
use indicatif::ProgressBar;
use models::{Conductor, TemplateOptions, bundle::DEFAULT_BUNDLE, domain::Domain, ort_engine::SessionConfig};

use super::{Outcome, enroll::BankArgs, left_out_lines, print_json, print_line, progress, warn_of_left_out};
use crate::{
    diagnosis::{EyesSource, good_classes},
    eval::{
        BankInspector, Inspector, Latency, Layout, Leak, Metrics, NamedInspector, Plan, StationInspector,
        TemplateInspector, Watcher, evaluate,
    },
    head::ClassLayout,
    home::StationName,
    kit::{Kit, Text},
    signals::SignalWatch,
};

mod compare;
mod domain;
mod head;

pub(super) use head::open as open_head;

/// Draws of golden images when only some are learned from.
const SEEDS_OF_SHOTS: u64 = 3;
/// By this much the annotators of DeepPCB drew their boxes larger than the defects.
const DEEPPCB_MARGIN_PX: u32 = 10;

/// Score a labelled set of images: writes metrics.json, predictions.jsonl and report.html
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own on the command line")]
pub(super) struct EvalArgs {
    /// Folder of the data set
    #[arg(required_unless_present = "compare")]
    dataset: Option<PathBuf>,
    /// How the data set is laid out [default with --head and --domain: folders]. Without all three, of `crops` and `factory` those eyes are
    /// measured that know the class folders
    #[arg(long, value_enum)]
    layout: Option<Layout>,
    /// Folder to write to; made if missing
    #[arg(long, value_name = "DIR", required_unless_present = "compare")]
    output: Option<PathBuf>,
    /// Compare position by position with an aligned golden template; always so for deeppcb
    #[arg(long, requires = "layout")]
    template: bool,
    /// Measure the head in this folder, made by `loupe train`, on class folders or labelled boxes; of a data set with parts, on the test part
    #[arg(
        long,
        value_name = "DIR",
        conflicts_with_all = ["template", "station", "shots", "good", "resolution", "varied", "rotations", "painted", "seed"]
    )]
    head: Option<PathBuf>,
    /// Measure the trained eyes of a domain (`crops`, `factory`, or the file or folder of another), head and language model, on class
    /// folders or labelled boxes that it knows
    #[arg(
        long,
        value_name = "NAME",
        conflicts_with_all = ["template", "head", "station", "shots", "good", "resolution", "varied", "rotations", "painted", "seed"]
    )]
    domain: Option<String>,
    /// Let trained eyes name what is found: the file of a domain, or the folder of a head, that learned from labelled boxes
    #[arg(long, value_name = "NAME", requires = "layout", conflicts_with_all = ["head", "domain"])]
    eyes: Option<String>,
    /// With --domain: a folder of pictures that are not the domain's, with all folders in it, to measure whether it knows
    #[arg(long, value_name = "DIR", requires = "domain")]
    strangers: Option<PathBuf>,
    /// With --domain: leave the language model out
    #[arg(long, requires = "domain")]
    no_text: bool,
    /// With --domain: ask the language model about each picture twice more, told what the head says of it: with the picture and with a grey one in
    /// its place, to see what it looks at. Takes three times as long
    #[arg(long, requires = "domain", conflicts_with = "no_text")]
    ablations: bool,
    /// Train heads on --shots pictures of each class of the training part, drawn by seed, and measure each on the test part
    #[arg(
        long,
        requires = "shots",
        conflicts_with_all = ["layout", "template", "station", "head", "domain", "eyes", "good", "resolution", "varied", "rotations", "painted", "seed"]
    )]
    head_only: bool,
    /// Put two metrics.json of the same images side by side: every measure with its interval, the difference, and a paired test
    #[arg(
        long,
        num_args = 2,
        value_names = ["A.json", "B.json"],
        conflicts_with_all = ["dataset", "layout", "output", "template", "head", "domain", "eyes", "head_only", "station", "shots", "good", "resolution", "varied", "rotations", "painted", "seed"]
    )]
    compare: Option<Vec<PathBuf>>,
    /// Judge with an enrolled station, as it is, and learn nothing
    #[arg(long, value_name = "NAME", requires = "layout", conflicts_with_all = ["template", "shots"])]
    station: Option<StationName>,
    /// Learn from this many golden images, drawn by seed; from all without it. With --head-only, from this many of each class
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    shots: Option<u32>,
    /// Draw them this often, with seeds 1 to K [default: 3 with --shots]
    #[arg(long, value_name = "K", requires = "shots", value_parser = clap::value_parser!(u64).range(1..))]
    seeds: Option<u64>,
    #[command(flatten)]
    bank: BankArgs,
    /// Class folder that is good (layout folders)
    #[arg(long, value_name = "CLASS", requires = "layout")]
    good: Option<String>,
    /// Print metrics.json to standard output, and nothing else
    #[arg(long)]
    json: bool,
}

/// What standard output is for.
#[derive(Debug, Clone, Copy)]
enum Print {
    Json,
    Lines,
}

/// From where to where.
#[derive(Debug, Clone, Copy)]
struct Folders<'a> {
    dataset: &'a Path,
    output: &'a Path,
}

impl EvalArgs {
    fn seeds(&self) -> u64 {
        self.seeds.unwrap_or(if self.shots.is_some() { SEEDS_OF_SHOTS } else { 1 })
    }

    const fn print(&self) -> Print {
        if self.json { Print::Json } else { Print::Lines }
    }

    fn folders(&self) -> anyhow::Result<Folders<'_>> {
        let (dataset, output) = (self.dataset.as_deref(), self.output.as_deref());
        let (dataset, output) =
            dataset.zip(output).context("the command line asks for a data set and an output folder")?;
        Ok(Folders { dataset, output })
    }

    /// Returns how pictures lie that have the name of a class.
    const fn class_layout(&self) -> ClassLayout {
        match self.layout {
            Some(Layout::Deeppcb) => ClassLayout::Deeppcb,
            Some(Layout::Coco) => ClassLayout::Coco,
            // What the test part holds is measured, as of class folders.
            Some(Layout::Mvtec | Layout::Folders) | None => ClassLayout::Folders,
        }
    }

    fn domain_order<'a>(&'a self, domain: &'a str, folders: Folders<'a>) -> domain::Order<'a> {
        domain::Order {
            domain,
            dataset: folders.dataset,
            layout: self.class_layout(),
            strangers: self.strangers.as_deref(),
            text: if self.no_text { Text::Plain } else { Text::Written },
            ablations: self.ablations,
            output: folders.output,
        }
    }

    /// Returns whether there are options of a bank, which would be enrolled first.
    fn asks_for_bank(&self) -> bool {
        self.shots.is_some() || self.bank.says_anything()
    }

    fn plan(&self, layout: Layout, folders: Folders<'_>) -> Plan {
        Plan {
            dataset: folders.dataset.to_owned(),
            layout,
            good: self.good.clone(),
            station: self.station.as_ref().map(|name| name.as_str().to_owned()),
            shots: self.shots.map(|shots| shots as usize),
            seeds: self.seeds(),
            output: folders.output.to_owned(),
        }
    }

    fn inspector(&self, layout: Layout) -> anyhow::Result<Box<dyn Inspector>> {
        let Some(name) = &self.eyes else { return self.unnamed_inspector(layout) };
        let source = match Path::new(name) {
            folder if folder.is_dir() && !Domain::is_in(folder) => {
                EyesSource::Head { folder: folder.to_owned(), good_classes: good_classes() }
            }
            _ => EyesSource::Domain(name.clone()),
        };
        let eyes = Kit::new(DEFAULT_BUNDLE, SessionConfig::default())?.eyes(&source)?;
        Ok(Box::new(NamedInspector::new(self.unnamed_inspector(layout)?, eyes)?))
    }

    fn unnamed_inspector(&self, layout: Layout) -> anyhow::Result<Box<dyn Inspector>> {
        if let Some(name) = &self.station {
            return Ok(Box::new(StationInspector::open(name)?));
        }
        if layout == Layout::Deeppcb {
            let options =
                TemplateOptions { margin_px: DEEPPCB_MARGIN_PX, ..TemplateOptions::bare_board(Conductor::Dark) };
            return Ok(Box::new(TemplateInspector::new(options)));
        }
        if self.template {
            return Ok(Box::new(TemplateInspector::new(TemplateOptions::default())));
        }
        let encoder = Kit::new(DEFAULT_BUNDLE, SessionConfig::default())?.only_encoder(self.bank.resolution)?;
        Ok(Box::new(BankInspector::new(encoder, self.bank.options())))
    }
}

/// Evaluates and says what came of it.
///
/// # Errors
/// One line that names the file or folder, what was expected and what was found.
pub(super) fn run(args: &EvalArgs) -> anyhow::Result<Outcome> {
    if let Some([a, b]) = args.compare.as_deref() {
        return compare::run([a, b], args.print());
    }
    let folders = args.folders()?;
    if let Some(head) = &args.head {
        return head::run(head, folders, args.class_layout(), args.print());
    }
    if let Some(domain) = &args.domain {
        return domain::run(args.domain_order(domain, folders), args.print());
    }
    if let (true, Some(shots)) = (args.head_only, args.shots) {
        return head::run_few_shot((shots, args.seeds()), folders, args.print());
    }
    let Some(layout) = args.layout else {
        anyhow::ensure!(!args.asks_for_bank(), "the command line asks for a --layout of golden images to learn from");
        let domain = domain::chosen(folders.dataset, args.print())?;
        return domain::run(args.domain_order(domain, folders), args.print());
    };
    let mut inspector = args.inspector(layout)?;
    let plan = args.plan(layout, folders);
    let _signals = SignalWatch::farewell(vec![plan.journal()])?;
    let mut progress = Progress { bar: progress::bar(0, "judging images") };
    let metrics = evaluate(&plan, inspector.as_mut(), &mut progress);
    progress.bar.finish_and_clear();
    let metrics = metrics?;
    warn_of_problems(&metrics)?;
    if args.json {
        return print_json(&metrics);
    }
    for line in summary(&metrics) {
        print_line(&line)?;
    }
    print_line(&format!("report: {}", folders.output.join("report.html").display()))?;
    Ok(Outcome::Done)
}

/// Shows how far the evaluation is.
struct Progress {
    bar: ProgressBar,
}

impl Watcher for Progress {
    fn judged(&mut self, done: usize, total: usize) {
        self.bar.set_length(total as u64);
        self.bar.set_position(done as u64);
    }
}

fn warn_of_problems(metrics: &Metrics) -> io::Result<()> {
    let mut stderr = io::stderr().lock();
    for problem in &metrics.problems {
        writeln!(stderr, "loupe: {}", problem.message)?;
    }
    if metrics.boxes.is_some_and(|boxes| boxes.precision().is_none()) {
        writeln!(
            stderr,
            "loupe: no box was found: coco_detections.json is not written, as there is nothing to evaluate"
        )?;
    }
    for line in left_out_lines(metrics.leakage.iter().map(Leak::message)) {
        writeln!(stderr, "loupe: {line}")?;
    }
    Ok(())
}

fn latency_line(Latency { p50, p95, p99 }: Latency) -> String {
    format!("{:<22} {p50:.1} / {p95:.1} / {p99:.1} ms (p50, p95, p99)", "latency")
}

fn summary(metrics: &Metrics) -> Vec<String> {
    let Metrics { n_images, n_good, n_defective, n_invalid, n_golden, .. } = metrics;
    let mut lines = vec![format!(
        "{n_images} images judged: {n_good} good, {n_defective} defective; {n_invalid} invalid; {n_golden} golden images, {} seed(s)",
        metrics.seeds.len()
    )];
    for (name, value) in &metrics.measures {
        let Some(value) = value else { continue };
        let interval = metrics.intervals_95.get(name).map(|i| format!("  95 % {:.3} to {:.3}", i.low, i.high));
        let spread = metrics.spread.get(name).map(|spread| format!("  seeds ± {:.3}", spread.std));
        lines.push(format!("{name:<22} {value:.4}{}{}", interval.unwrap_or_default(), spread.unwrap_or_default()));
    }
    if let Some(latency) = metrics.latency_ms {
        lines.push(latency_line(latency));
    }
    lines.push(format!("threshold: {}", metrics.threshold_source));
    lines
}
