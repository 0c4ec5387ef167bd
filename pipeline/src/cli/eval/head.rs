use std::path::Path;

use models::{
    Encoder,
    bundle::DEFAULT_BUNDLE,
    head::{Classifier, Head},
    ort_engine::SessionConfig,
};

use super::{Folders, Outcome, Print, print_json, print_line, progress, warn_of_left_out};
use crate::{
    head::{
        ClassLayout, DESCRIBED, FewShotPlan, HEAD_FILE, HeadEvaluation, RESOLUTION_PX, evaluate, evaluate_few_shot,
    },
    kit::Kit,
    signals::SignalWatch,
};

/// Measures the head in the folder `head` and says what came of it.
///
/// # Errors
/// One line that names the file or folder, what was expected and what was found.
pub(super) fn run(head: &Path, folders: Folders<'_>, layout: ClassLayout, print: Print) -> anyhow::Result<Outcome> {
    let (mut encoder, opened) = open_parts(head)?;
    let Folders { dataset, output } = folders;
    let _signals = SignalWatch::farewell(vec![output.join(DESCRIBED)])?;
    let bar = progress::bar(0, "classifying pictures");
    let evaluation = evaluate((head, &opened), &mut encoder, (dataset, layout), output, &mut progress::counting(&bar));
    bar.finish_and_clear();
    say(&evaluation?, folders, print)
}

/// Measures heads that learn from `shots` pictures of each class, one for each of the `seeds`, and says what came of it.
///
/// # Errors
/// One line that names the file or folder, what was expected and what was found.
pub(super) fn run_few_shot((shots, seeds): (u32, u64), folders: Folders<'_>, print: Print) -> anyhow::Result<Outcome> {
    anyhow::ensure!(shots >= 2, "--shots: expected 2 or more with --head-only, found {shots}");
    let plan = FewShotPlan {
        data: folders.dataset.to_owned(),
        output: folders.output.to_owned(),
        shots: shots as usize,
        seeds,
        resolution_px: RESOLUTION_PX,
    };
    let mut kit = Kit::new(DEFAULT_BUNDLE, SessionConfig::default())?;
    let _signals = SignalWatch::farewell(vec![folders.output.join(DESCRIBED)])?;
    let bar = progress::bar(0, "encoding pictures");
    let evaluation = evaluate_few_shot(&plan, kit.encoder(RESOLUTION_PX)?, &mut progress::counting(&bar));
    bar.finish_and_clear();
    say(&evaluation?, folders, print)
}

fn say(summary: &HeadEvaluation, folders: Folders<'_>, print: Print) -> anyhow::Result<Outcome> {
    let HeadEvaluation { evaluation, spread, .. } = summary;
    warn_of_left_out(&evaluation.left_out)?;
    if matches!(print, Print::Json) {
        return print_json(summary);
    }
    let (measured, left_out) = (evaluation.measures.n_images, evaluation.left_out.len());
    print_line(&format!("{measured} pictures measured, {left_out} left out"))?;
    for line in evaluation.measures.lines_with(spread) {
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
    let (encoder, head) = open_parts(folder)?;
    Ok(Classifier::new(encoder, head)?)
}

fn open_parts(folder: &Path) -> anyhow::Result<(Encoder, Head)> {
    let head = Head::open(&folder.join(HEAD_FILE))?;
    let encoder = Kit::new(DEFAULT_BUNDLE, SessionConfig::default())?.only_encoder(head.origin().resolution_px)?;
    Ok((encoder, head))
}
