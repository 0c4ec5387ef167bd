use std::{
    io,
    path::PathBuf,
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use cameras::{BrokenFrame, CameraError, Frame, FrameId, FrameSource, Grab, PixelFormat, Size};
use models::{Features, Gate, GateReading, HeatMap, ModelError};

use super::*;
use crate::{
    policy::{Deadline, Failsafe},
    report::{DecidedBy, Description, Verdict},
    stage::{Recording, StageError, Suspect, Words},
};

mod eyes;

const SIZE: Size = Size::new(40, 40);

/// What a test source does at one place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shot {
    Good,
    Broken,
    Lost,
}

/// Brings frames at a steady pace.
struct Script {
    shots: Vec<Shot>,
    next: usize,
    pace: Duration,
    endless: bool,
}

impl Script {
    fn new(shots: Vec<Shot>) -> Self {
        Self { shots, next: 0, pace: Duration::ZERO, endless: false }
    }

    fn good(frames: usize) -> Self {
        Self::new(vec![Shot::Good; frames])
    }
}

impl FrameSource for Script {
    fn name(&self) -> &'static str {
        "script"
    }

    fn grab(&mut self, timeout: Duration) -> Result<Grab, CameraError> {
        let id = FrameId { source: "script".into(), seq: self.next as u64 };
        let unreadable =
            || CameraError::Unreadable { path: PathBuf::from("shot.png"), source: io::Error::other("gone") };
        let shot = match self.shots.get(self.next) {
            Some(shot) => *shot,
            None if self.endless => {
                thread::sleep(timeout);
                return Ok(Grab::Idle);
            }
            None => return Ok(Grab::Ended),
        };
        self.next += 1;
        thread::sleep(self.pace);
        match shot {
            Shot::Lost => Err(unreadable()),
            Shot::Broken => {
                Ok(Grab::Broken(BrokenFrame { id, captured_at: jiff::Timestamp::now(), error: unreadable() }))
            }
            Shot::Good => {
                let pixels: Vec<u8> = (0..SIZE.area_px()).map(|index| (index * 7 % 200) as u8).collect();
                Frame::new(id, SIZE, PixelFormat::Grey8, pixels).map(Grab::Frame)
            }
        }
    }
}

/// Judges by the frame's number.
struct Numbered<F>(F);

impl<F: FnMut(u64) -> Result<f32, ModelError> + Send> Gate for Numbered<F> {
    fn judge(&mut self, frame: &Frame, _features: Option<&Features>) -> Result<GateReading, ModelError> {
        let score = (self.0)(frame.id().seq)?;
        let heat_map = HeatMap { size: Size::new(1, 1), values: vec![score], threshold: 1.0 };
        Ok(GateReading { score, threshold: 1.0, p_value: Some(0.5), heat_map, regions: Vec::new() })
    }

    fn magnification(&self) -> Option<f64> {
        None
    }
}

fn reference(judge: impl FnMut(u64) -> Result<f32, ModelError> + Send + 'static) -> Reference {
    Reference {
        gate: Box::new(Numbered(judge)),
        decided_by: DecidedBy::Bank,
        threshold_source: "test".to_owned(),
        false_alarm_bound: None,
        calibration_id: String::new(),
        models: Vec::new(),
    }
}

fn all_good() -> Reference {
    reference(|_| Ok(0.5))
}

/// Keeps reports in memory; fails from report `fail_at` on.
#[derive(Clone, Default)]
struct Memory {
    reports: Arc<Mutex<Vec<Report>>>,
    fail_at: Option<usize>,
}

impl Memory {
    fn verdicts(&self) -> Vec<Verdict> {
        self.reports.lock().unwrap().iter().map(|report| report.verdict).collect()
    }
}

impl Record for Memory {
    fn record(&mut self, recording: Recording<'_>) -> Result<Report, StageError> {
        let mut reports = self.reports.lock().unwrap();
        if self.fail_at.is_some_and(|fail_at| reports.len() >= fail_at) {
            return Err("disk is full".into());
        }
        let report = Report { seq: reports.len() as u64, ..recording.report };
        reports.push(report.clone());
        Ok(report)
    }
}

struct Writer<F>(F);

impl<F: FnMut() -> Result<(), StageError> + Send> Describe for Writer<F> {
    fn describe(&mut self, _suspect: &Suspect<'_>) -> Result<Words, StageError> {
        (self.0)()?;
        let description = Description {
            summary: "a dent".to_owned(),
            signs: Vec::new(),
            how_bad: Vec::new(),
            possible_causes: Vec::new(),
            ask_when: Vec::new(),
            actions: Vec::new(),
            sources: Vec::new(),
            sees_pixels: false,
            prompt_sha256: String::new(),
            tokens_in: 0,
            tokens_out: 0,
            tokens_forced: 0,
        };
        Ok(Words { description, named: None, author: None })
    }
}

fn pipeline(station: Station) -> Pipeline {
    Pipeline::new("test").station(station)
}

fn dropped(entry: &LedgerEntry, reason: &str) -> u64 {
    entry.dropped.get(reason).copied().unwrap_or(0)
}

#[test]
fn reports_every_frame_in_order() {
    let memory = Memory::default();
    let station = Station::new("press", Box::new(Script::good(200))).reference(Some(all_good()));
    let summary = pipeline(station).run(Box::new(memory.clone()), &Stop::default()).unwrap();
    assert_eq!(summary.end, RunEnd::SourcesEnded);
    assert_eq!((summary.ledger[0].captured, summary.ledger[0].reported), (200, 200));
    let reports = memory.reports.lock().unwrap();
    assert!(reports.iter().enumerate().all(|(place, report)| report.source.frame == place as u64));
    assert!(reports.iter().all(|report| report.verdict == Verdict::Pass && report.station == "press"));
}

#[test]
fn quarantines_what_a_stage_fails_on_and_goes_on() {
    let memory = Memory::default();
    let judge = |frame| {
        let (expected, found) = ("480 x 480".to_owned(), "40 x 40".to_owned());
        if frame % 3 == 1 { Err(ModelError::Mismatch { what: "frame".to_owned(), expected, found }) } else { Ok(0.5) }
    };
    let source = Script::new(vec![Shot::Good, Shot::Good, Shot::Broken, Shot::Good]);
    let station = Station::new("press", Box::new(source)).reference(Some(reference(judge)));
    let summary = pipeline(station).run(Box::new(memory.clone()), &Stop::default()).unwrap();
    assert_eq!(summary.ledger[0].reported, 4);
    assert_eq!(memory.verdicts(), [Verdict::Pass, Verdict::Invalid, Verdict::Invalid, Verdict::Pass]);
    let reports = memory.reports.lock().unwrap();
    assert_eq!((reports[1].decided_by, reports[2].decided_by), (DecidedBy::Failure, DecidedBy::ImageCheck));
    assert_eq!(reports[1].reason, "the gate stage failed on this picture: frame: expected 480 x 480, found 40 x 40");
    assert_eq!(reports[2].source.path.as_deref(), Some("shot.png"));
}

#[test]
fn nothing_is_dropped_when_every_frame_counts() {
    let station = Station::new("press", Box::new(Script::good(60))).reference(Some(reference(|_| {
        thread::sleep(Duration::from_millis(3));
        Ok(0.5)
    })));
    let summary = pipeline(station).run(Box::new(Memory::default()), &Stop::default()).unwrap();
    assert_eq!((summary.ledger[0].captured, summary.ledger[0].reported), (60, 60));
}

#[test]
fn freshest_drops_and_counts_under_threefold_overload() {
    const FRAMES: u64 = 150;
    let source = Script { pace: Duration::from_millis(1), ..Script::good(FRAMES as usize) };
    // The gate learns of the ledger only once the pipeline has it.
    let ledger: Arc<Mutex<Option<Ledger>>> = Arc::default();
    let (seen, mut due) = (Arc::clone(&ledger), 0);
    let station = Station::new("press", Box::new(source)).overload(Overload::Freshest).reference(Some(reference(
        // Takes as long as three frames do, however busy the machine is.
        move |_| {
            due = FRAMES.min(due + 3);
            while seen.lock().unwrap().as_ref().is_some_and(|ledger| ledger.entry().captured < due) {
                thread::sleep(Duration::from_micros(200));
            }
            Ok(0.5)
        },
    )));
    let memory = Memory::default();
    let pipeline = pipeline(station);
    let watched = pipeline.ledgers().remove(0);
    *ledger.lock().unwrap() = Some(watched.clone());
    let watcher = thread::Builder::new().spawn(move || {
        while watched.entry().captured < FRAMES {
            assert!(watched.entry().is_balanced());
            thread::sleep(Duration::from_micros(500));
        }
    });
    let summary = pipeline.run(Box::new(memory.clone()), &Stop::default()).unwrap();
    watcher.unwrap().join().unwrap();
    let entry = &summary.ledger[0];
    assert_eq!(entry.captured, FRAMES);
    assert_eq!(entry.reported + dropped(entry, "overload_freshest"), FRAMES, "{entry:?}");
    assert!((90..FRAMES).contains(&dropped(entry, "overload_freshest")), "{entry:?}");
    // The newest frame is never the one that is dropped.
    assert_eq!(memory.reports.lock().unwrap().last().unwrap().source.frame, FRAMES - 1);
}

#[test]
fn one_slow_station_does_not_starve_another() {
    let memory = Memory::default();
    let slow = |_| {
        thread::sleep(Duration::from_millis(1));
        Ok(0.5)
    };
    let one = Station::new("one", Box::new(Script::good(100))).reference(Some(reference(slow)));
    let two = Station::new("two", Box::new(Script::good(100))).reference(Some(reference(slow)));
    let summary = pipeline(one).station(two).run(Box::new(memory.clone()), &Stop::default()).unwrap();
    assert!(summary.ledger.iter().all(|entry| entry.reported == 100));
    let first_half = &memory.reports.lock().unwrap()[..100];
    let of_one = first_half.iter().filter(|report| report.station == "one").count();
    assert!((20..=80).contains(&of_one), "{of_one}");
}

#[test]
fn drains_what_is_in_flight() {
    let stop = Stop::default();
    let source = Script { endless: true, ..Script::good(5) };
    let station = Station::new("press", Box::new(source)).reference(Some(all_good()));
    let (stopper, memory) = (stop.clone(), Memory::default());
    let pipeline = pipeline(station).on_report(move |report| {
        if report.seq == 4 {
            stopper.drain();
        }
    });
    let summary = pipeline.run(Box::new(memory.clone()), &stop).unwrap();
    assert_eq!((summary.end, summary.ledger[0].reported), (RunEnd::Drained, 5));
}

#[test]
fn an_abort_gives_up_what_is_in_flight_at_once() {
    let stop = Stop::default();
    let stopper = stop.clone();
    let station = Station::new("press", Box::new(Script::good(50))).reference(Some(reference(move |_| {
        stopper.abort();
        thread::sleep(Duration::from_secs(20));
        Ok(0.5)
    })));
    let started = Instant::now();
    let error = pipeline(station).run(Box::new(Memory::default()), &stop).unwrap_err();
    assert!(started.elapsed() < Duration::from_secs(5));
    let entry = &error.summary.ledger[0];
    assert_eq!((error.summary.end, entry.reported), (RunEnd::Aborted, 0));
    assert!(error.to_string().starts_with("stopped at once: script: "), "{error}");
    assert!(entry.is_balanced() && dropped(entry, "aborted") > 0, "{entry:?}");
}

#[test]
fn a_panic_in_a_stage_ends_the_run_with_its_message() {
    let source = Script { endless: true, ..Script::good(50) };
    let station = Station::new("press", Box::new(source)).reference(Some(reference(|frame| {
        assert!(frame < 10, "gate fell over");
        Ok(0.5)
    })));
    let error = pipeline(station).run(Box::new(Memory::default()), &Stop::default()).unwrap_err();
    assert_eq!(error.to_string(), "stage look panicked: gate fell over");
    let entry = &error.summary.ledger[0];
    assert!(entry.is_balanced() && entry.in_flight == 0, "{entry:?}");
    assert!(entry.reported <= 10 && dropped(entry, "stage_died") > 0, "{entry:?}");
}

#[test]
fn a_lost_report_ends_the_run() {
    let memory = Memory { fail_at: Some(3), ..Memory::default() };
    let source = Script { endless: true, ..Script::good(20) };
    let station = Station::new("press", Box::new(source)).reference(Some(all_good()));
    let error = pipeline(station).run(Box::new(memory), &Stop::default()).unwrap_err();
    assert_eq!(error.to_string(), "record: disk is full");
    let entry = &error.summary.ledger[0];
    assert_eq!((entry.reported, dropped(entry, "record_failed"), entry.in_flight), (3, 1, 0), "{entry:?}");
    assert!(entry.is_balanced());
}

#[test]
fn a_lost_source_ends_the_run_after_the_others_are_drained() {
    let lost = Station::new("lost", Box::new(Script::new(vec![Shot::Good, Shot::Lost])));
    let other = Station::new("other", Box::new(Script { endless: true, ..Script::good(3) }));
    let error = pipeline(lost).station(other).run(Box::new(Memory::default()), &Stop::default()).unwrap_err();
    assert_eq!(error.to_string(), "station lost: shot.png: cannot be read: gone");
    assert!(error.summary.ledger.iter().all(|entry| entry.captured == entry.reported), "{:?}", error.summary);
}

#[test]
fn describes_suspects_only_and_a_verdict_outlives_its_text() {
    let memory = Memory::default();
    let station = Station::new("press", Box::new(Script::good(4))).reference(Some(reference(|frame| Ok(frame as f32))));
    let mut calls = 0;
    let writer = Writer(move || {
        calls += 1;
        if calls == 2 { Err("out of words".into()) } else { Ok(()) }
    });
    pipeline(station).describer(Box::new(writer)).run(Box::new(memory.clone()), &Stop::default()).unwrap();
    let reports = memory.reports.lock().unwrap();
    let described: Vec<_> = reports.iter().map(|report| (report.verdict, report.description.is_some())).collect();
    let (pass, fail) = (Verdict::Pass, Verdict::Fail);
    assert_eq!(described, [(pass, false), (pass, false), (fail, true), (fail, false)]);
    assert!(reports[3].reason.ends_with("; not described: out of words"), "{}", reports[3].reason);
}

#[test]
fn a_busy_describer_does_not_hold_up_fresh_verdicts() {
    let memory = Memory::default();
    let source = Script { pace: Duration::from_millis(5), ..Script::good(30) };
    let every_third = |frame| Ok(if frame % 3 == 0 { 2.0 } else { 0.5 });
    let station =
        Station::new("press", Box::new(source)).overload(Overload::Freshest).reference(Some(reference(every_third)));
    let (seen, gave_up) = (memory.clone(), Instant::now() + Duration::from_secs(30));
    // The first text is not done before others have their verdict: were they held up, it would never be.
    let writer = Writer(move || {
        let is_there = |verdict| seen.verdicts().contains(&verdict);
        while !(is_there(Verdict::Pass) && is_there(Verdict::Fail)) {
            if Instant::now() > gave_up {
                return Err("no verdict came past the describer".into());
            }
            thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    });
    pipeline(station).describer(Box::new(writer)).run(Box::new(memory.clone()), &Stop::default()).unwrap();
    let reports = memory.reports.lock().unwrap();
    let (described, busy): (Vec<_>, Vec<_>) = reports
        .iter()
        .filter(|report| report.verdict == Verdict::Fail)
        .partition(|report| report.description.is_some());
    assert!(!described.is_empty() && !busy.is_empty(), "{} {}", described.len(), busy.len());
    assert!(busy.iter().all(|report| report.reason.ends_with("the describer was busy with an earlier part")));
}

#[test]
fn a_late_frame_gets_the_failsafe() {
    let memory = Memory::default();
    let deadline = Deadline { within: Duration::from_millis(20), failsafe: Failsafe::Fail };
    let policy = Policy { deadline: Some(deadline), ..Policy::default() };
    let source = Script { pace: Duration::from_millis(2), ..Script::good(2) };
    let station = Station::new("press", Box::new(source)).policy(policy).reference(Some(reference(|frame| {
        thread::sleep(Duration::from_millis(if frame == 1 { 40 } else { 0 }));
        Ok(0.5)
    })));
    pipeline(station).run(Box::new(memory.clone()), &Stop::default()).unwrap();
    let reports = memory.reports.lock().unwrap();
    assert_eq!(reports[1].decided_by, DecidedBy::TimeoutFailsafe);
    assert_eq!(reports[1].verdict, Verdict::Fail);
}

#[test]
fn a_frame_that_is_stuck_gets_the_failsafe_when_its_verdict_is_due() {
    let memory = Memory::default();
    let deadline = Deadline { within: Duration::from_millis(60), failsafe: Failsafe::Fail };
    let policy = Policy { deadline: Some(deadline), ..Policy::default() };
    let (seen, gave_up) = (memory.clone(), Instant::now() + Duration::from_secs(10));
    let station =
        Station::new("press", Box::new(Script::good(1))).policy(policy).reference(Some(reference(move |_| {
            // Holds the frame until its report is there.
            while seen.verdicts().is_empty() && Instant::now() < gave_up {
                thread::sleep(Duration::from_millis(1));
            }
            Ok(0.5)
        })));
    let summary = pipeline(station).run(Box::new(memory.clone()), &Stop::default()).unwrap();
    let entry = &summary.ledger[0];
    assert_eq!((entry.captured, entry.reported, entry.is_balanced()), (1, 1, true));
    assert!(Instant::now() < gave_up, "the report came only after the gate let go");
    let report = memory.reports.lock().unwrap().remove(0);
    assert_eq!((report.verdict, report.decided_by), (Verdict::Fail, DecidedBy::TimeoutFailsafe));
    assert!(
        report.reason.starts_with("the verdict was due 60 ms after capture and was not there after "),
        "{report:?}"
    );
    assert_eq!(report.source.frame, 0);
}

#[test]
fn a_verdict_that_waits_too_long_to_be_stored_is_replaced_by_the_failsafe() {
    let memory = Memory::default();
    let deadline = Deadline { within: Duration::from_millis(50), failsafe: Failsafe::Review };
    let policy = Policy { deadline: Some(deadline), ..Policy::default() };
    let station = Station::new("press", Box::new(Script::good(2))).policy(policy).reference(Some(all_good()));
    let pipeline = pipeline(station).on_report(|_| thread::sleep(Duration::from_millis(80)));
    pipeline.run(Box::new(memory.clone()), &Stop::default()).unwrap();
    let reports = memory.reports.lock().unwrap();
    assert_eq!((reports[1].verdict, reports[1].decided_by), (Verdict::Review, DecidedBy::TimeoutFailsafe));
}

#[test]
fn refuses_stations_that_cannot_be_told_apart() {
    let station = || Station::new("press", Box::new(Script::good(1)));
    let twice = pipeline(station()).station(station()).run(Box::new(Memory::default()), &Stop::default());
    assert_eq!(twice.unwrap_err().to_string(), "station press: expected a name of its own, found it twice");
    let none = Pipeline::new("test").run(Box::new(Memory::default()), &Stop::default());
    assert_eq!(none.unwrap_err().to_string(), "expected at least one station, found none");
}
