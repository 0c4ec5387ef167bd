-- Where every captured frame of a run went, as last counted.
CREATE TABLE ledger (
    run_id    TEXT NOT NULL REFERENCES run (run_id),
    camera    TEXT NOT NULL,
    captured  INTEGER NOT NULL,
    reported  INTEGER NOT NULL,
    in_flight INTEGER NOT NULL,
    PRIMARY KEY (run_id, camera)
) STRICT, WITHOUT ROWID;

CREATE TABLE ledger_drop (
    run_id TEXT NOT NULL,
    camera TEXT NOT NULL,
    reason TEXT NOT NULL,
    frames INTEGER NOT NULL,
    PRIMARY KEY (run_id, camera, reason),
    FOREIGN KEY (run_id, camera) REFERENCES ledger (run_id, camera)
) STRICT, WITHOUT ROWID;
