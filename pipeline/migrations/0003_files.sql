-- Which file has a report already, asked for every file of a watched folder when a run begins.
CREATE INDEX report_of_file ON report (json_extract(body, '$.source.path'), captured_us);
