use std::{
    io::{self, Write as _},
    path::Path,
};

use models::{
    bundle::DEFAULT_BUNDLE,
    head::{Classifier, Head},
    ort_engine::SessionConfig,
};

use super::{Folders, Outcome, Print, print_json, print_line, progress};
use crate::{
    head::{HEAD_FILE, evaluate},
    kit::Kit,
};

/// Measures the head in the folder `head` and says what came of it.
///
/// # Errors
/// One line that names the file or folder, what was expected and what was found.
pub(super) fn run(head: &Path, folders: Folders<'_>, print: Print) -> anyhow::Result<Outcome> {
    let mut classifier = open(head)?;
    let bar = progress::bar(0, "classifying pictures");
    let evaluation = evaluate((head, &mut classifier), folders.dataset, folders.output, &mut |done, total| {
        bar.set_length(total as u64);
        bar.set_position(done as u64);
    });
    bar.finish_and_clear();
    let evaluation = evaluation?;
    let mut stderr = io::stderr().lock();
    for left_out in &evaluation.left_out {
        writeln!(stderr, "loupe: {}", left_out.message())?;
    }
    if matches!(print, Print::Json) {
        return print_json(&evaluation);
    }
    let (measured, left_out) = (evaluation.measures.n_images, evaluation.left_out.len());
    print_line(&format!("{measured} pictures measured, {left_out} left out"))?;
    for line in evaluation.measures.lines() {
        print_line(&line)?;
    }
    if let Some(latency) = evaluation.latency_ms {
        print_line(&super::latency_line(latency))?;
    }
    print_line(&format!("report: {}", folders.output.join("report.html").display()))?;
    Ok(Outcome::Done)
}

/// Returns the head with the encoder that it was fitted to.
pub(in crate::cli) fn open(folder: &Path) -> anyhow::Result<Classifier> {
    let head = Head::open(&folder.join(HEAD_FILE))?;
    let encoder = Kit::new(DEFAULT_BUNDLE, SessionConfig::default())?.only_encoder(head.origin().resolution_px)?;
    Ok(Classifier::new(encoder, head)?)
}
