use std::{collections::BTreeMap, fs, time::Instant};

use super::*;
use crate::{
    record_error::RecordErrorKind,
    report::{Verdict, tests::full_example},
};

const SHORT_WAIT: Duration = Duration::from_millis(50);

fn open(path: &Path) -> Store {
    Store::open(path, SHORT_WAIT).unwrap()
}

fn new_run(store: &Store) -> RunInfo {
    let run = RunInfo::new("test", "key = 1");
    store.begin_run(&run).unwrap();
    run
}

fn new_report(station: &str) -> Report {
    Report { report_id: Uuid::now_v7(), station: station.to_owned(), ..full_example() }
}

fn count(store: &Store, table: &str) -> u64 {
    store.connection.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap()
}

#[test]
fn stores_report_evidence_and_outbox_together() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(&folder.path().join("db"));
    let run = new_run(&store);
    let mut report = new_report("press");
    store.insert(run.run_id, &mut report, None).unwrap();
    assert_eq!(store.report(&report.report_id.to_string()).unwrap(), report);
    assert_eq!(["report", "evidence", "outbox"].map(|table| count(&store, table)), [1, 1, 1]);
    assert_eq!(store.pending().unwrap(), 1);
    assert_eq!(store.run(run.run_id).unwrap().1, None);
    store.finish_run(run.run_id).unwrap();
    assert!(store.run(run.run_id).unwrap().1.unwrap() >= run.started);
}

#[test]
fn numbers_have_no_gaps_in_each_station_also_after_reopening() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    let mut seqs = Vec::new();
    for _ in 0..2 {
        let mut store = open(&path);
        let run = new_run(&store);
        for station in ["press", "lathe", "press"] {
            let mut report = new_report(station);
            store.insert(run.run_id, &mut report, None).unwrap();
            seqs.push((station, report.seq));
        }
    }
    let expected = [("press", 0), ("lathe", 0), ("press", 1), ("press", 2), ("lathe", 1), ("press", 3)];
    assert_eq!(seqs, expected);
}

#[test]
fn a_failure_half_way_leaves_nothing_and_uses_no_number() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(&folder.path().join("db"));
    let run = new_run(&store);
    for table in ["evidence", "outbox"] {
        let refuse = format!(
            "CREATE TRIGGER refuse BEFORE INSERT ON {table} BEGIN SELECT RAISE(ABORT, 'refused by the test'); END"
        );
        store.connection.execute_batch(&refuse).unwrap();
        let error = store.insert(run.run_id, &mut new_report("press"), None).unwrap_err();
        assert!(error.to_string().contains("refused by the test"), "{error}");
        assert_eq!(["report", "evidence", "outbox", "station"].map(|table| count(&store, table)), [0; 4], "{table}");
        store.connection.execute_batch("DROP TRIGGER refuse").unwrap();
    }
    let mut report = new_report("press");
    store.insert(run.run_id, &mut report, None).unwrap();
    assert_eq!(report.seq, 0);
}

#[test]
fn a_number_that_json_cannot_hold_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(&folder.path().join("db"));
    let run = new_run(&store);
    let mut report = new_report("press");
    report.timing_ms.total = f64::NAN;
    let error = store.insert(run.run_id, &mut report, None).unwrap_err();
    assert!(error.to_string().ends_with("timing_ms.total: expected a finite number, found NaN"), "{error}");
}

/// Inserts a report as the first version of the database had it.
fn insert_as_of_old(connection: &Connection, run_id: Uuid, report: &Report) {
    connection.execute("INSERT INTO station (station, next_seq) VALUES ('press', 1)", []).unwrap();
    let columns = "report_id, run_id, station, seq, camera, frame, captured_us, verdict, queue_ms, total_ms, body";
    let sql = format!("INSERT INTO report ({columns}) VALUES (?1, ?2, 'press', 0, 'top', 1, 2, 'pass', 0.5, 60.0, ?3)");
    let body = serde_json::to_string(report).unwrap();
    connection.execute(&sql, rusqlite::params![report.report_id.to_string(), run_id.to_string(), body]).unwrap();
}

#[test]
fn an_old_file_is_brought_up_to_date_with_its_reports() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    let run = RunInfo::new("old", "");
    {
        let old = Connection::open(&path).unwrap();
        old.execute_batch(migrations::MIGRATIONS[0]).unwrap();
        old.pragma_update(None, "user_version", 1).unwrap();
        let store = Store { path: path.clone(), busy_timeout: SHORT_WAIT, connection: old };
        store.begin_run(&run).unwrap();
        insert_as_of_old(&store.connection, run.run_id, &new_report("press"));
        let mut store = store;
        assert!(store.save_ledger(run.run_id, &[LedgerEntry::default()]).is_err(), "the old file has no ledger");
    }
    let mut store = open(&path);
    assert_eq!(usize::try_from(store.user_version().unwrap()).unwrap(), migrations::MIGRATIONS.len());
    assert_eq!(store.rows(run.run_id).unwrap().len(), 1);
    let entry = LedgerEntry {
        camera: "top".to_owned(),
        captured: 6,
        reported: 1,
        dropped: BTreeMap::from([("stale".to_owned(), 2), ("overload".to_owned(), 3)]),
        in_flight: 0,
    };
    for _ in 0..2 {
        store.save_ledger(run.run_id, std::slice::from_ref(&entry)).unwrap();
        assert_eq!(store.ledger(run.run_id).unwrap(), std::slice::from_ref(&entry));
    }
}

#[test]
fn a_newer_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    open(&path).connection.pragma_update(None, "user_version", 99).unwrap();
    let error = Store::open(&path, SHORT_WAIT).unwrap_err();
    let known = migrations::MIGRATIONS.len();
    let expected = format!(
        "{}: expected database version {known} or older, found 99; use the loupe that wrote it",
        path.display()
    );
    assert_eq!(error.to_string(), expected);
}

#[test]
fn a_damaged_file_is_named_and_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    let good = {
        open(&path);
        fs::read(&path).unwrap()
    };
    let mut torn = good.clone();
    torn[100..].fill(0xa5);
    for damaged in [b"this is no database at all, but it is long enough to be one".repeat(20), torn] {
        fs::write(&path, &damaged).unwrap();
        let error = Store::open(&path, SHORT_WAIT).unwrap_err();
        assert!(matches!(error, RecordError::DatabaseDamaged { .. }), "{error:?}");
        assert!(error.to_string().starts_with(&format!("{}: expected a loupe database", path.display())), "{error}");
        assert_eq!(fs::read(&path).unwrap(), damaged);
    }
}

#[test]
fn a_locked_database_is_waited_for_and_then_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    let mut store = open(&path);
    let run = new_run(&store);
    let other = Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let start = Instant::now();
    let error = store.insert(run.run_id, &mut new_report("press"), None).unwrap_err();
    assert!(start.elapsed() >= SHORT_WAIT);
    assert_eq!(error.kind(), RecordErrorKind::Busy);
    let expected = format!("{}: database is locked by another program, gave up after 50 ms", path.display());
    assert_eq!(error.to_string(), expected);
    other.execute_batch("ROLLBACK").unwrap();
    let mut report = new_report("press");
    store.insert(run.run_id, &mut report, None).unwrap();
    assert_eq!(report.seq, 0);
}

#[test]
fn a_full_disk_is_named_and_what_was_stored_stays() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(&folder.path().join("db"));
    let run = new_run(&store);
    let pages: u32 = store.connection.pragma_query_value(None, "page_count", |row| row.get(0)).unwrap();
    store.connection.pragma_update(None, "max_page_count", pages + 8).unwrap();
    let mut stored = 0;
    let error = loop {
        match store.insert(run.run_id, &mut new_report("press"), None) {
            Ok(()) => stored += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), RecordErrorKind::DiskFull, "{error}");
    assert_eq!(["report", "evidence", "outbox"].map(|table| count(&store, table)), [stored; 3]);
    store.connection.pragma_update(None, "max_page_count", 1_000_000).unwrap();
    let mut report = new_report("press");
    store.insert(run.run_id, &mut report, None).unwrap();
    assert_eq!(report.seq, stored);
}

#[test]
fn a_lost_run_is_ended_with_a_balanced_ledger() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    let entry = |captured, reported, in_flight| {
        let dropped = BTreeMap::from([("overload_freshest".to_owned(), captured - reported - in_flight)]);
        LedgerEntry { camera: "top".to_owned(), captured, reported, dropped, in_flight }
    };
    let (lost, ended) = {
        let mut store = open(&path);
        let (lost, ended) = (new_run(&store), new_run(&store));
        store.insert(lost.run_id, &mut new_report("press"), Some(&entry(4, 1, 2))).unwrap();
        store.insert(lost.run_id, &mut new_report("press"), Some(&entry(9, 2, 3))).unwrap();
        store.save_ledger(ended.run_id, &[entry(5, 5, 0)]).unwrap();
        store.finish_run(ended.run_id).unwrap();
        (lost.run_id, ended.run_id)
    };
    let mut store = open(&path);
    assert_eq!((store.end_lost_runs().unwrap(), store.end_lost_runs().unwrap()), (1, 0));
    let dropped = BTreeMap::from([("overload_freshest".to_owned(), 4), ("process_ended".to_owned(), 3)]);
    let found = store.ledger(lost).unwrap().remove(0);
    assert_eq!((found.is_balanced(), found.in_flight, &found.dropped), (true, 0, &dropped));
    assert!(store.run(lost).unwrap().1.is_some());
    assert_eq!(store.ledger(ended).unwrap(), [entry(5, 5, 0)]);
}

#[test]
fn knows_which_files_have_a_report() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(&folder.path().join("db"));
    let run = new_run(&store);
    let mut report = new_report("press");
    report.source.path = Some("in/7.png".to_owned());
    store.insert(run.run_id, &mut report, None).unwrap();
    let (camera, captured) = (report.source.camera.as_str(), report.time.captured);
    let cases = [
        (camera, "in/7.png", captured, true),
        (camera, "in/7.png", captured + Duration::from_millis(1), false),
        (camera, "in/8.png", captured, false),
        ("another", "in/7.png", captured, false),
    ];
    for (camera, file, changed, expected) in cases {
        assert_eq!(store.has_report_of(camera, file, changed).unwrap(), expected, "{camera} {file} {changed}");
    }
}

#[test]
fn answers_what_a_page_asks() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(&folder.path().join("db"));
    let run = new_run(&store);
    for millis in 1..=200 {
        let mut report = new_report("press");
        report.timing_ms.total = f64::from(millis);
        report.timing_ms.describe = None;
        report.verdict = if millis % 4 == 0 { Verdict::Review } else { Verdict::Pass };
        store.insert(run.run_id, &mut report, None).unwrap();
    }
    let expected = Percentiles { count: 200, p50_millis: 100.0, p95_millis: 190.0, p99_millis: 198.0 };
    assert_eq!(store.percentiles(run.run_id, Step::Total).unwrap(), Some(expected));
    assert_eq!(store.percentiles(run.run_id, Step::Describe).unwrap(), None);
    assert_eq!(store.verdicts(run.run_id).unwrap(), BTreeMap::from([(Verdict::Pass, 150), (Verdict::Review, 50)]));
    let rows = store.rows(run.run_id).unwrap();
    assert_eq!((rows.len(), rows[3].seq, rows[3].verdict, rows[3].ratio), (200, 3, Verdict::Review, Some(2.5)));
}

#[test]
fn percentiles_are_nearest_ranks() {
    let cases: [(&[f64], Option<[f64; 3]>); 3] =
        [(&[], None), (&[7.0], Some([7.0; 3])), (&[1.0, 2.0, 3.0], Some([2.0, 3.0, 3.0]))];
    for (sorted, expected) in cases {
        let found = Percentiles::of_sorted(sorted).map(|p| [p.p50_millis, p.p95_millis, p.p99_millis]);
        assert_eq!(found, expected, "{sorted:?}");
    }
}
