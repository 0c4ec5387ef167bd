//! `loupe eval --domain`: the trained eyes of a domain on class folders of its own.

use std::{path::Path, sync::Arc};

use anyhow::anyhow;
use models::{bundle::DEFAULT_BUNDLE, domain::Domain, ort_engine::SessionConfig};

use super::{Outcome, Print, latency_line, print_json, print_line, progress, warn_of_left_out};
use crate::{
    head::{
        ClassLayout, DomainEvaluation, DomainPlan, Examinee, MeasureRow, MeasureTable, domain_for, evaluate_domain,
    },
    kit::{Kit, Text},
    policy::Policy,
    signals::SignalWatch,
};

/// What to measure and where.
#[derive(Debug, Clone, Copy)]
pub(super) struct Order<'a> {
    /// Name or file of the domain.
    pub(super) domain: &'a str,
    pub(super) dataset: &'a Path,
    pub(super) layout: ClassLayout,
    pub(super) strangers: Option<&'a Path>,
    pub(super) text: Text,
    pub(super) ablations: bool,
    pub(super) output: &'a Path,
}

/// Returns the name of the domain in the binary that knows the class folders of `dataset`, and says so where standard output is read.
///
/// # Errors
/// When none knows all of them.
pub(super) fn chosen(dataset: &Path, print: Print) -> anyhow::Result<&'static str> {
    let names: Vec<&str> = Domain::embedded().collect();
    let name = domain_for(dataset, &names)
        .map_err(|error| anyhow!("{error}; a gate is measured with --layout, other eyes with --head or --domain"))?;
    if matches!(print, Print::Lines) {
        print_line(&format!("measuring the trained eyes of {name}, which know these class folders"))?;
    }
    Ok(name)
}

/// Measures a domain and says what came of it.
///
/// # Errors
/// When a model file is missing, or as [`evaluate_domain`].
pub(super) fn run(order: Order<'_>, print: Print) -> anyhow::Result<Outcome> {
    let kit = Kit::new(DEFAULT_BUNDLE, SessionConfig::default())?;
    let domain = Arc::new(Domain::find(order.domain)?);
    let (eyes, models) = (kit.domain_eyes(&domain)?, kit.domain_models(&domain)?);
    let mut author = match order.text {
        Text::Written if domain.speaks() => Some(kit.author()?),
        Text::Written | Text::Plain => None,
    };
    let mut examinee = Examinee { domain, eyes, models, author: author.as_mut().map(|author| author as _) };
    let familiar_from = Policy::default().familiar_from;
    let Order { dataset, layout, strangers, ablations, output, .. } = order;
    let plan = DomainPlan { dataset, layout, strangers, familiar_from, ablations, output };
    let _signals = SignalWatch::farewell(vec![plan.journal()])?;
    let bar = progress::bar(0, "looking at pictures");
    let evaluation = evaluate_domain(&mut examinee, plan, &mut progress::counting(&bar));
    bar.finish_and_clear();
    say(&evaluation?, order.output, print)
}

fn say(summary: &DomainEvaluation, output: &Path, print: Print) -> anyhow::Result<Outcome> {
    let DomainEvaluation { evaluation, language_latency_ms, taken_for, .. } = summary;
    warn_of_left_out(&evaluation.left_out)?;
    if matches!(print, Print::Json) {
        return print_json(summary);
    }
    let (measured, left_out) = (evaluation.measures.n_images, evaluation.left_out.len());
    print_line(&format!("{measured} pictures measured, {left_out} left out"))?;
    print_line(&format!("their classes are taken for those of {}", taken_for.words()))?;
    for line in evaluation.measures.lines() {
        print_line(&line)?;
    }
    for MeasureTable { title, rows, beside: what, .. } in summary.tables() {
        print_line(&format!("{title}:"))?;
        let what = what.to_lowercase();
        for MeasureRow { name, value, interval, beside, .. } in rows {
            print_line(&format!("  {name:<25} {value}  95 % {interval}  ({beside} {what})"))?;
        }
    }
    for (latency, of) in [(evaluation.latency_ms, "eyes and head"), (*language_latency_ms, "language model")] {
        if let Some(latency) = latency {
            print_line(&format!("{}, {of}", latency_line(latency)))?;
        }
    }
    print_line(&format!("report: {}", output.join("report.html").display()))?;
    Ok(Outcome::Done)
}
