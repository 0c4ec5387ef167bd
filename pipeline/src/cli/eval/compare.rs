use std::{cmp::Ordering, path::Path};

use super::{Outcome, Print, print_json, print_line};
use crate::eval::{Better, Compared, Comparison, Latency, Side, Value};

/// Puts the two `metrics.json` of `files` side by side.
///
/// # Errors
/// One line that names the file, what was expected and what was found.
pub(super) fn run(files: [&Path; 2], print: Print) -> anyhow::Result<Outcome> {
    let comparison = Comparison::of(files[0], files[1])?;
    if matches!(print, Print::Json) {
        return print_json(&comparison);
    }
    for line in lines(&comparison) {
        print_line(&line)?;
    }
    Ok(Outcome::Done)
}

fn lines(comparison: &Comparison) -> Vec<String> {
    let mut lines = vec![side('A', &comparison.a), side('B', &comparison.b)];
    if !comparison.data_is_known_equal {
        lines.push(
            "only the number of images was compared: a file of an older version does not say which it judged"
                .to_owned(),
        );
    }
    if comparison.strangers_differ {
        lines.push("not compared: what was measured on strangers, who are not known to be the same".to_owned());
    }
    let header = format!("{:<24} {:<24} {:>8}  {:<9} 95 % intervals", "A", "B", "B - A", "better");
    let mut rows = vec![("measure", header)];
    rows.extend(comparison.measures.iter().map(|compared| (compared.measure, row(compared))));
    if let [Some(a), Some(b)] = comparison.latency_ms {
        rows.extend(latency_rows(a, b));
    }
    let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
    lines.extend(rows.into_iter().map(|(name, row)| format!("{name:<width$} {row}")));
    lines.push(match (comparison.paired, &comparison.not_paired) {
        (Some(paired), _) => format!(
            "image by image (accuracy, first seed): A alone is right on {} of {}, B alone on {}; exact McNemar p = {:.4}",
            paired.only_a_right, paired.n_images, paired.only_b_right, paired.p_value
        ),
        (None, reason) => format!("no paired test: {}", reason.as_deref().unwrap_or_default()),
    });
    lines
}

fn side(letter: char, Side { path, judge, dataset, n_images, n_seeds }: &Side) -> String {
    format!("{letter}: {}: {judge} on {n_images} images of {dataset}, {n_seeds} seed(s)", path.display())
}

fn row(Compared { a, b, difference, better, intervals_overlap, .. }: &Compared) -> String {
    let better = match better {
        Better::A => "A",
        Better::B => "B",
        Better::Equal => "equal",
    };
    let overlap = match intervals_overlap {
        Some(true) => "overlap",
        Some(false) => "apart",
        None => "-",
    };
    format!("{:<24} {:<24} {difference:>+8.4}  {better:<9} {overlap}", cell(*a), cell(*b))
}

fn cell(Value { value, interval_95 }: Value) -> String {
    let interval = interval_95.map(|interval| format!(" ({:.3} to {:.3})", interval.low, interval.high));
    format!("{value:.4}{}", interval.unwrap_or_default())
}

fn latency_rows(a: Latency, b: Latency) -> [(&'static str, String); 3] {
    [("latency p50", a.p50, b.p50), ("latency p95", a.p95, b.p95), ("latency p99", a.p99, b.p99)].map(|(name, a, b)| {
        let better = match a.total_cmp(&b) {
            Ordering::Less => "A",
            Ordering::Greater => "B",
            Ordering::Equal => "equal",
        };
        let [first, second] = [a, b].map(|millis| format!("{millis:.1} ms"));
        (name, format!("{first:<24} {second:<24} {:>+8.1}  {better:<9} -", b - a))
    })
}
