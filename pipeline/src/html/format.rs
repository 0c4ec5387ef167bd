//! Numbers and names as a person reads them.

use jiff::{Timestamp, tz::TimeZone};

use crate::report::Verdict;

pub(super) fn millis(value: f64) -> String {
    match value {
        v if v >= 10_000.0 => format!("{:.1} s", v / 1000.0),
        v if v >= 1000.0 => format!("{:.2} s", v / 1000.0),
        v if v >= 100.0 => format!("{v:.0} ms"),
        v if v >= 1.0 => format!("{v:.1} ms"),
        v => format!("{v:.2} ms"),
    }
}

pub(super) fn percent(part: u64, whole: u64) -> String {
    if whole == 0 { "–".to_owned() } else { format!("{:.1} %", part as f64 * 100.0 / whole as f64) }
}

/// A probability, without decimals, since it is not known to more; nothing is certain.
pub(super) fn share(ratio: f64) -> String {
    if ratio >= 0.995 { "over 99 %".to_owned() } else { format!("{:.0} %", ratio * 100.0) }
}

/// Three significant digits, without trailing zeros.
pub(super) fn number(value: f64) -> String {
    let digits = if value == 0.0 { 0 } else { (2 - value.abs().log10().floor() as i32).clamp(0, 6) as usize };
    let text = format!("{value:.digits$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

pub(super) fn day_and_time(time: Timestamp) -> String {
    time.to_zoned(TimeZone::UTC).strftime("%-d %B %Y, %H:%M:%S UTC").to_string()
}

pub(super) fn clock(time: Timestamp) -> String {
    time.to_zoned(TimeZone::UTC).strftime("%H:%M:%S").to_string()
}

/// The first half of a hash tells two apart; the whole one is in the report.
pub(super) fn short_hash(hash: &str) -> String {
    hash.chars().take(12).collect()
}

pub(super) fn file_name(path: &str) -> String {
    path.rsplit(['/', '\\']).next().unwrap_or(path).to_owned()
}

/// Verdicts are told apart by sign and word as well as by colour.
pub(super) const fn sign(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Pass => "✓",
        Verdict::Fail => "✕",
        Verdict::Review => "?",
        Verdict::Invalid => "∅",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        let cases =
            [(0.0, "0"), (1.0, "1"), (2.5, "2.5"), (0.0625, "0.0625"), (1234.6, "1235"), (12.345, "12.3"), (1e-9, "0")];
        for (value, expected) in cases {
            assert_eq!(number(value), expected);
        }
        let cases =
            [(0.126, "0.13 ms"), (31.24, "31.2 ms"), (412.4, "412 ms"), (1530.0, "1.53 s"), (61_000.0, "61.0 s")];
        for (value, expected) in cases {
            assert_eq!(millis(value), expected);
        }
        assert_eq!((percent(0, 0), percent(1, 3)), ("–".to_owned(), "33.3 %".to_owned()));
    }
}
