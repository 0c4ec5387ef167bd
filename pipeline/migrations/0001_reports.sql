-- Reports, what proves them and what still has to be delivered. Times are microseconds since 1970-01-01 UTC.
CREATE TABLE run (
    run_id       TEXT PRIMARY KEY,
    title        TEXT NOT NULL,
    settings     TEXT NOT NULL,          -- the effective configuration as the user may read it
    app_version  TEXT NOT NULL,
    started_us   INTEGER NOT NULL,
    finished_us  INTEGER
) STRICT;

-- The number that the station's next report gets. It moves only together with the report that took it.
CREATE TABLE station (
    station  TEXT PRIMARY KEY,
    next_seq INTEGER NOT NULL
) STRICT;

-- `body` is the whole report as JSON; the other columns repeat what is searched or charted.
CREATE TABLE report (
    report_id   TEXT PRIMARY KEY,
    run_id      TEXT NOT NULL REFERENCES run (run_id),
    station     TEXT NOT NULL REFERENCES station (station),
    seq         INTEGER NOT NULL,
    camera      TEXT NOT NULL,
    frame       INTEGER NOT NULL,
    captured_us INTEGER NOT NULL,
    verdict     TEXT NOT NULL,
    score       REAL,
    threshold   REAL,
    queue_ms    REAL NOT NULL,
    check_ms    REAL,
    encode_ms   REAL,
    gate_ms     REAL,
    describe_ms REAL,
    total_ms    REAL NOT NULL,
    body        TEXT NOT NULL,
    UNIQUE (station, seq)
) STRICT;
CREATE INDEX report_of_run ON report (run_id);

CREATE TABLE evidence (
    report_id TEXT NOT NULL REFERENCES report (report_id),
    kind      TEXT NOT NULL,
    path      TEXT NOT NULL,
    sha256    TEXT NOT NULL,
    bytes     INTEGER NOT NULL,
    mime      TEXT NOT NULL,
    PRIMARY KEY (report_id, kind)
) STRICT, WITHOUT ROWID;

-- `id` is the order of delivery.
CREATE TABLE outbox (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    report_id  TEXT NOT NULL UNIQUE REFERENCES report (report_id),
    created_us INTEGER NOT NULL,
    attempts   INTEGER NOT NULL DEFAULT 0,
    sent_us    INTEGER
) STRICT;
