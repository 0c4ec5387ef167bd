use std::collections::BTreeSet;

use askama::Template;
use uuid::Uuid;

use super::{
    cards::{Card, Files, name_of, place_of},
    charts::{Histogram, Strip, coordinate, shares},
    format,
};
use crate::{
    ledger::LedgerEntry,
    record_error::RecordError,
    report::{ModelUse, Report, Score, Verdict},
    store::{ReportRow, Step, Store},
};

/// Reports that are shown in full.
const MAX_CARDS: usize = 60;

/// Pictures stop when the page has taken this much of them.
const PICTURE_BUDGET_BYTES: usize = 6 << 20;

/// Lines of the table.
const MAX_LINES: usize = 500;

/// How many reports carry a verdict, and the part of the bar that they fill.
struct Count {
    verdict: Verdict,
    sign: &'static str,
    frames: u64,
    percent: String,
    start: f64,
    width: f64,
}

/// How long a step took, with its part of the chart in percent.
struct StepBar {
    name: &'static str,
    p50: String,
    p95: String,
    p99: String,
    p50_width: f64,
    p95_width: f64,
}

/// What a station compares with.
struct Standard {
    station: String,
    score: Score,
    threshold: String,
    bound: Option<String>,
    id: String,
}

/// One line of the table.
struct Line {
    card: Option<String>,
    sign: &'static str,
    verdict: Verdict,
    name: String,
    place: String,
    ratio: String,
    took: String,
}

/// What the template shows.
#[derive(Template)]
#[template(path = "run.html")]
pub(super) struct Page {
    title: String,
    started: String,
    lasted: Option<String>,
    settings: String,
    app_version: &'static str,
    total: u64,
    suspects: u64,
    pass_percent: String,
    counts: Vec<Count>,
    steps: Vec<StepBar>,
    strip: Option<Strip>,
    histogram: Option<Histogram>,
    ledger: Vec<LedgerEntry>,
    cards: Vec<Card>,
    lines: Vec<Line>,
    lines_left_out: usize,
    standards: Vec<Standard>,
    models: Vec<ModelUse>,
}

impl Page {
    pub(super) fn of(store: &Store, run_id: Uuid, files: &Files<'_>) -> Result<Self, RecordError> {
        let (run, finished) = store.run(run_id)?;
        let rows = store.rows(run_id)?;
        let total = rows.len() as u64;
        let counts = counts(store, run_id)?;
        let passed = counts.iter().find(|count| count.verdict == Verdict::Pass).map_or(0, |count| count.frames);
        let cards = cards(store, &rows, files)?;
        let (standards, models) = standards(store, &rows)?;
        let lasted = finished.map(|end| (end.as_microsecond() - run.started.as_microsecond()) as f64 / 1000.0);
        Ok(Self {
            title: run.title,
            started: format::day_and_time(run.started),
            lasted: lasted.map(format::millis),
            settings: run.settings,
            app_version: env!("CARGO_PKG_VERSION"),
            total,
            suspects: total - passed,
            pass_percent: format::percent(passed, total),
            counts,
            steps: steps(store, run_id)?,
            strip: Strip::of(&rows),
            histogram: Histogram::of(&rows),
            ledger: store.ledger(run_id)?,
            lines: lines(store, &rows, &cards)?,
            lines_left_out: rows.len().saturating_sub(MAX_LINES),
            cards,
            standards,
            models,
        })
    }

    /// Returns the row of the duration from capture to verdict.
    fn total_step(&self) -> Option<&StepBar> {
        self.steps.last()
    }
}

fn counts(store: &Store, run_id: Uuid) -> Result<Vec<Count>, RecordError> {
    let found = store.verdicts(run_id)?;
    let counts = Verdict::ALL.map(|verdict| found.get(&verdict).copied().unwrap_or(0));
    let total = counts.iter().sum();
    let parts = Verdict::ALL.into_iter().zip(counts).zip(shares(&counts));
    let count = |((verdict, frames), (start, width))| Count {
        verdict,
        sign: format::sign(verdict),
        frames,
        percent: format::percent(frames, total),
        start,
        width,
    };
    Ok(parts.map(count).collect())
}

fn steps(store: &Store, run_id: Uuid) -> Result<Vec<StepBar>, RecordError> {
    let mut found = Vec::new();
    for step in Step::ALL {
        found.extend(store.percentiles(run_id, step)?.map(|percentiles| (step, percentiles)));
    }
    let longest = found.iter().map(|(_, step)| step.p95_millis).fold(f64::MIN_POSITIVE, f64::max);
    let bar = |(step, times): (Step, crate::store::Percentiles)| StepBar {
        name: step.as_str(),
        p50: format::millis(times.p50_millis),
        p95: format::millis(times.p95_millis),
        p99: format::millis(times.p99_millis),
        p50_width: times.p50_millis / longest * 100.0,
        p95_width: times.p95_millis / longest * 100.0,
    };
    Ok(found.into_iter().map(bar).collect())
}

/// Returns the strangest reports that are no pass: failed ones first, each kind by falling score.
fn cards(store: &Store, rows: &[ReportRow], files: &Files<'_>) -> Result<Vec<Card>, RecordError> {
    let mut suspects: Vec<&ReportRow> = rows.iter().filter(|row| row.verdict != Verdict::Pass).collect();
    suspects.sort_by(|a, b| {
        let falling = b.ratio.unwrap_or(0.0).total_cmp(&a.ratio.unwrap_or(0.0));
        a.verdict.cmp(&b.verdict).then(falling)
    });
    let mut cards = Vec::new();
    let mut bytes = 0;
    for row in suspects.into_iter().take(MAX_CARDS) {
        if bytes > PICTURE_BUDGET_BYTES {
            break;
        }
        let card = Card::of(&store.report(&row.report_id)?, files);
        bytes += card.picture_bytes();
        cards.push(card);
    }
    Ok(cards)
}

fn lines(store: &Store, rows: &[ReportRow], cards: &[Card]) -> Result<Vec<Line>, RecordError> {
    let shown: BTreeSet<&str> = cards.iter().map(|card| card.id.as_str()).collect();
    let line = |row: &ReportRow| {
        let report = store.report(&row.report_id)?;
        Ok(Line {
            card: shown.get(row.report_id.as_str()).map(|&id| id.to_owned()),
            sign: format::sign(row.verdict),
            verdict: row.verdict,
            name: name_of(&report),
            place: place_of(&report),
            ratio: row.ratio.map_or_else(|| "–".to_owned(), |ratio| format!("{}×", format::number(ratio))),
            took: format::millis(row.total_millis),
        })
    };
    rows.iter().take(MAX_LINES).map(line).collect()
}

/// Returns what each station compares with, and the models that took part, as the first report of each verdict with and without a score says.
fn standards(store: &Store, rows: &[ReportRow]) -> Result<(Vec<Standard>, Vec<ModelUse>), RecordError> {
    let mut kinds = BTreeSet::new();
    let mut standards: Vec<Standard> = Vec::new();
    let mut models = Vec::new();
    for row in rows.iter().filter(|row| kinds.insert((row.station.as_str(), row.verdict, row.ratio.is_some()))) {
        let report = store.report(&row.report_id)?;
        models.extend_from_slice(&report.models);
        if standards.iter().all(|known| known.station != report.station) {
            standards.extend(standard(report));
        }
    }
    Ok((standards, ModelUse::each_once(&models)))
}

fn standard(report: Report) -> Option<Standard> {
    let score = report.score?;
    Some(Standard {
        station: report.station,
        threshold: format::number(score.threshold),
        bound: score.false_alarm_bound.map(|bound| format!("{:.0} %", (bound * 100.0).ceil())),
        id: format::short_hash(&score.calibration_id),
        score,
    })
}
