use std::process;

use cameras::{FrameId, PixelFormat, Size};
use uuid::Uuid;

use super::*;
use crate::report::{EvidenceKind, Verdict, tests::full_example};

fn open(folder: &Path, policy: EvidencePolicy) -> Result<Recorder, RecordError> {
    Recorder::open_with(folder, RunInfo::new("test", ""), policy, Duration::from_millis(50))
}

fn frame() -> Frame {
    let pixels = vec![90; 64 * 48];
    Frame::new(FrameId { source: "top".into(), seq: 0 }, Size::new(64, 48), PixelFormat::Grey8, pixels).unwrap()
}

fn new_report(verdict: Verdict) -> Report {
    Report { report_id: Uuid::now_v7(), verdict, ..full_example() }
}

#[test]
fn records_a_run_from_start_to_page() {
    let folder = tempfile::tempdir().unwrap();
    let mut recorder = open(folder.path(), EvidencePolicy::Suspects).unwrap();
    let heat = HeatMap { size: Size::new(2, 2), values: vec![0.0, 1.0, 2.0, 3.0], threshold: 1.5 };
    let frame = frame();
    let picture = Picture::Frame { frame: &frame, heat_map: Some(&heat) };
    let mut reports = [new_report(Verdict::Pass), new_report(Verdict::Fail)];
    for report in &mut reports {
        assert_eq!(recorder.record(report, picture).unwrap(), Recorded::Whole);
        assert_eq!(recorder.store().report(&report.report_id.to_string()).unwrap(), *report);
    }
    assert_eq!(reports[0].evidence, []);
    assert_eq!(
        reports[1].evidence.iter().map(|item| item.kind).collect::<Vec<_>>(),
        [EvidenceKind::Original, EvidenceKind::Overlay]
    );
    let lines = fs::read_to_string(recorder.run_folder().join("reports.jsonl")).unwrap();
    let lines: Vec<Report> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines, reports);

    let ledger = LedgerEntry { camera: "top".to_owned(), captured: 2, reported: 2, ..LedgerEntry::default() };
    let page = recorder.finish(&[ledger]).unwrap();
    assert!(fs::read_to_string(page).unwrap().starts_with("<!doctype html>"));
    assert_eq!(recorder.losses(), Losses::default());
}

#[test]
fn a_second_daemon_is_told_who_holds_the_folder() {
    let folder = tempfile::tempdir().unwrap();
    let first = open(folder.path(), EvidencePolicy::Off).unwrap();
    let error = open(folder.path(), EvidencePolicy::Off).unwrap_err();
    let expected = format!(
        "{}: expected a folder that no other loupe uses, found it held by process {}",
        folder.path().display(),
        process::id()
    );
    assert_eq!(error.to_string(), expected);
    drop(first);
    open(folder.path(), EvidencePolicy::Off).unwrap();
}

#[test]
fn an_undecodable_file_is_kept_as_evidence() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("torn.png");
    fs::write(&file, b"torn").unwrap();
    let mut recorder = open(folder.path(), EvidencePolicy::Suspects).unwrap();
    let mut report = new_report(Verdict::Invalid);
    recorder.record(&mut report, Picture::Undecoded(&file)).unwrap();
    assert_eq!(fs::read(folder.path().join(&report.evidence[0].path)).unwrap(), b"torn");
    let mut gone = new_report(Verdict::Invalid);
    recorder.record(&mut gone, Picture::Undecoded(Path::new("/nowhere/at/all"))).unwrap();
    assert_eq!(gone.evidence, []);
}

#[test]
fn evidence_is_given_up_before_the_report_is() {
    let folder = tempfile::tempdir().unwrap();
    let mut recorder = open(folder.path(), EvidencePolicy::All).unwrap();
    // The report alone fits into the page that its table has; with the evidence in it, it would need one more.
    recorder.store.refuse_more_pages();
    let frame = frame();
    let mut report = new_report(Verdict::Fail);
    report.evidence.clear();
    let bytes = serde_json::to_vec(&report).unwrap().len();
    report.reason = "x".repeat(3600 - bytes);
    let recorded = recorder.record(&mut report, Picture::Frame { frame: &frame, heat_map: None }).unwrap();
    assert_eq!(recorded, Recorded::WithoutEvidence);
    assert_eq!(recorder.losses(), Losses { evidence: 1, ..Losses::default() });
    let stored = recorder.store().report(&report.report_id.to_string()).unwrap();
    assert_eq!((stored.evidence.len(), stored.reason.ends_with(NO_EVIDENCE)), (0, true));
    let day = folder.path().join("evidence/2026/11/18/press");
    assert_eq!(fs::read_dir(day).unwrap().count(), 0, "no file without a row");
}

#[test]
fn a_lost_report_is_counted_and_leaves_no_files() {
    let folder = tempfile::tempdir().unwrap();
    let mut recorder = open(folder.path(), EvidencePolicy::All).unwrap();
    let frame = frame();
    let picture = Picture::Frame { frame: &frame, heat_map: None };
    let mut report = new_report(Verdict::Fail);
    recorder.record(&mut report, picture).unwrap();
    let mut again = report.clone();
    again.timing_ms.total = f64::NAN;
    again.report_id = Uuid::now_v7();
    assert_eq!(recorder.record(&mut again, picture).unwrap_err().kind(), RecordErrorKind::Fatal);
    assert_eq!(recorder.losses(), Losses { reports: 1, ..Losses::default() });
    let day = folder.path().join("evidence/2026/11/18/press");
    assert_eq!(fs::read_dir(day).unwrap().count(), 2);
    assert_eq!(recorder.store().pending().unwrap(), 1);
}

#[test]
fn the_record_stage_and_the_owner_share_a_recorder() {
    let folder = tempfile::tempdir().unwrap();
    let shared = SharedRecorder::new(open(folder.path(), EvidencePolicy::All).unwrap());
    let torn = folder.path().join("torn.png");
    fs::write(&torn, b"torn").unwrap();
    let mut stage: Box<dyn Record> = Box::new(shared.clone());
    let mut unread = new_report(Verdict::Invalid);
    unread.source.path = Some(torn.display().to_string());
    let frame = frame();
    let recordings =
        [(unread, None, "application/octet-stream"), (new_report(Verdict::Pass), Some(&frame), "image/png")];
    for (seq, (report, frame, mime)) in recordings.into_iter().enumerate() {
        let stored = stage.record(Recording { report, frame, heat_map: None }).unwrap();
        assert_eq!((stored.seq, stored.evidence[0].mime.as_str()), (seq as u64, mime));
    }
    drop(stage);
    assert!(shared.lock().finish(&[]).unwrap().is_file());
}
