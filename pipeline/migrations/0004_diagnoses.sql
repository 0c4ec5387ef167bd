-- How long trained eyes took.
ALTER TABLE report ADD COLUMN diagnose_ms REAL;
