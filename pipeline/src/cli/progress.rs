//! Progress on a terminal; nothing where standard error is none.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// Returns a bar over `total` steps of `what`, with the time that is left.
pub(super) fn bar(total: u64, what: &'static str) -> ProgressBar {
    let style = ProgressStyle::with_template("{msg:<24} {wide_bar} {pos}/{len} {eta:>4}")
        .expect("the template is a constant that a test draws");
    ProgressBar::new(total).with_style(style).with_message(what)
}

/// Returns a bar over bytes, of which nothing is known at first but `what` they are.
pub(super) fn bytes(what: &'static str) -> ProgressBar {
    let style = ProgressStyle::with_template("{msg:<32} {wide_bar} {bytes}/{total_bytes} {eta:>4}")
        .expect("the template is a constant that a test draws");
    ProgressBar::new(0).with_style(style).with_message(what)
}

/// Returns what shows on `bar` how many of how many steps are done.
pub(super) fn counting(bar: &ProgressBar) -> impl FnMut(usize, usize) {
    |done, total| {
        bar.set_length(total as u64);
        bar.set_position(done as u64);
    }
}

/// Returns a sign of life for work of unknown length.
pub(super) fn spinner(what: &'static str) -> ProgressBar {
    let spinner = ProgressBar::new_spinner().with_message(what);
    spinner.enable_steady_tick(Duration::from_millis(120));
    spinner
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_templates_are_valid() {
        super::bar(3, "counting").inc(1);
        super::bytes("fetching").inc(1);
    }
}
