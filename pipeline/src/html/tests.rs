use std::{fs, time::Duration};

use cameras::{Frame, FrameId, PixelFormat, Size};
use models::HeatMap;
use uuid::Uuid;

use crate::{
    evidence::EvidencePolicy,
    home::UNNAMED,
    ledger::LedgerEntry,
    recorder::{Picture, Recorder},
    report::{Report, Verdict, tests::full_example},
    store::{BUSY_TIMEOUT, RunInfo, Store},
};

const HOSTILE: &str = "<script>alert('x')</script>\"><img src=x onerror=alert(1)>.png";

fn frame() -> Frame {
    let pixels: Vec<u8> = (0..320 * 240).map(|index| (index / 320) as u8).collect();
    Frame::new(FrameId { source: "top".into(), seq: 0 }, Size::new(320, 240), PixelFormat::Grey8, pixels).unwrap()
}

fn report(verdict: Verdict, raw: f64) -> Report {
    let mut report = Report { report_id: Uuid::now_v7(), verdict, ..full_example() };
    if let Some(score) = &mut report.score {
        score.raw = raw;
    }
    report
}

fn page_of(reports: Vec<Report>) -> String {
    let folder = tempfile::tempdir().unwrap();
    let run = RunInfo::new("Line 1 <b>", "[camera]\nname = \"</pre><script>\"");
    let mut recorder = Recorder::open(folder.path(), run, EvidencePolicy::Suspects).unwrap();
    let frame = frame();
    let heat = HeatMap { size: Size::new(4, 3), values: (0..12).map(|i| i as f32 / 3.0).collect(), threshold: 2.0 };
    let captured = reports.len() as u64;
    for mut report in reports {
        recorder.record(&mut report, Picture::Frame { frame: &frame, heat_map: Some(&heat) }).unwrap();
    }
    let ledger = LedgerEntry { camera: HOSTILE.to_owned(), captured, reported: captured, ..LedgerEntry::default() };
    fs::read_to_string(recorder.finish(&[ledger]).unwrap()).unwrap()
}

fn count(page: &str, what: &str) -> usize {
    page.matches(what).count()
}

#[test]
fn without_a_station_a_picture_is_told_by_its_path() {
    let mut unnamed = report(Verdict::Fail, 9.0);
    unnamed.station = UNNAMED.to_owned();
    unnamed.source.path = Some("batch 7/lid.png".to_owned());
    let page = page_of(vec![unnamed]);
    // Of the card and of the line in the table.
    assert_eq!((count(&page, ">batch 7/lid.png<"), count(&page, "unnamed #")), (2, 0));
}

#[test]
fn shows_suspects_with_pictures_and_every_frame_in_a_line() {
    let page = page_of(vec![
        report(Verdict::Pass, 1.0),
        report(Verdict::Fail, 5.0),
        report(Verdict::Fail, 9.0),
        Report { score: None, ..report(Verdict::Invalid, 0.0) },
    ]);
    assert_eq!(count(&page, "<article"), 3);
    assert_eq!(count(&page, "src=\"data:image/jpeg;base64,"), 6);
    assert!(page.find("(4.5× the").unwrap() < page.find("(2.5× the").unwrap(), "strangest first");
    assert!(page.contains("3 of 4 need attention"));
    assert!(page.contains("href=\"../../evidence/2026/11/18/press/"));
    assert!(page.contains("worn gripper") && page.contains("check the gripper pads"));
    assert!(page.contains("at most 17 % of good parts"));
    assert!(page.contains("✓ complete"));
}

#[test]
fn an_empty_run_has_a_page_too() {
    let page = page_of(vec![]);
    assert!(page.contains("No frame was reported"));
    assert_eq!(count(&page, "<svg class=\"chart"), 0);
}

#[test]
fn text_from_outside_is_harmless() {
    let mut hostile = report(Verdict::Fail, 5.0);
    hostile.source.path = Some(HOSTILE.to_owned());
    hostile.station = HOSTILE.to_owned();
    hostile.reason = HOSTILE.to_owned();
    hostile.defects[0].label = HOSTILE.to_owned();
    hostile.defects[0].zone = HOSTILE.to_owned();
    hostile.models[0].name = HOSTILE.to_owned();
    if let Some(description) = &mut hostile.description {
        description.summary = HOSTILE.to_owned();
        description.sources = vec![HOSTILE.to_owned()];
    }
    let page = page_of(vec![hostile]);
    assert_eq!([count(&page, "<script"), count(&page, "<img src=x"), count(&page, "Line 1 <b>")], [0; 3]);
    assert!(count(&page, "&#60;script&#62;") >= 8, "shown as text");
}

#[test]
fn needs_nothing_from_outside() {
    let page = page_of(vec![report(Verdict::Fail, 5.0)]);
    for address in ["http://", "https://", "url(", "@import", "<link", "<script"] {
        assert_eq!(count(&page, address), 0, "{address}");
    }
    assert_eq!(count(&page, "<img "), count(&page, "alt=\""), "every picture says what it shows");
}

#[test]
fn a_long_run_stays_a_small_page() {
    let verdict = |index| if index < 70 { Verdict::Fail } else { Verdict::Pass };
    let page = page_of((0..700).map(|index| report(verdict(index), 5.0)).collect());
    assert_eq!(count(&page, "<article"), 60);
    assert_eq!(count(&page, "<tr><td><span class=\"badge"), 500);
    assert!(page.contains("The 60 strangest of 70") && page.contains("200 more"));
    assert!(page.len() < 9 << 20, "{} bytes", page.len());
}

#[test]
fn a_picture_that_was_deleted_is_said_to_be_missing() {
    let folder = tempfile::tempdir().unwrap();
    let mut recorder = Recorder::open(folder.path(), RunInfo::new("run", ""), EvidencePolicy::All).unwrap();
    let frame = frame();
    let mut report = report(Verdict::Fail, 5.0);
    recorder.record(&mut report, Picture::Frame { frame: &frame, heat_map: None }).unwrap();
    fs::remove_dir_all(folder.path().join("evidence")).unwrap();
    let page = fs::read_to_string(recorder.finish(&[]).unwrap()).unwrap();
    assert!(page.contains("No picture is stored with this report") && page.contains("Not counted yet"));
}

#[test]
fn an_unknown_run_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("db"), Duration::min(BUSY_TIMEOUT, Duration::from_millis(50))).unwrap();
    let page = folder.path().join("page.html");
    assert!(super::write(&store, Uuid::now_v7(), folder.path(), &page).is_err());
    assert!(!page.exists());
}
