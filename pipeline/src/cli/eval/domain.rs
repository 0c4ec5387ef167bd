//! `loupe eval --domain`: the trained eyes of a domain on class folders of its own.

use std::{path::Path, sync::Arc};

use models::{bundle::DEFAULT_BUNDLE, domain::Domain, ort_engine::SessionConfig};

use super::{Outcome, latency_line, print_line, progress};
use crate::{
    head::{DomainEvaluation, DomainPlan, Examinee, evaluate_domain},
    kit::{Kit, Text},
    policy::Policy,
};

/// What to measure and where.
#[derive(Debug, Clone, Copy)]
pub(super) struct Order<'a> {
    /// Name or file of the domain.
    pub(super) domain: &'a str,
    pub(super) dataset: &'a Path,
    pub(super) strangers: Option<&'a Path>,
    pub(super) text: Text,
    pub(super) output: &'a Path,
}

/// Measures a domain.
///
/// # Errors
/// When a model file is missing, or as [`evaluate_domain`].
pub(super) fn evaluated(order: Order<'_>) -> anyhow::Result<DomainEvaluation> {
    let kit = Kit::new(DEFAULT_BUNDLE, SessionConfig::default())?;
    let domain = Arc::new(Domain::find(order.domain)?);
    let eyes = kit.domain_eyes(&domain)?;
    let mut author = match order.text {
        Text::Written if domain.speaks() => Some(kit.author()?),
        Text::Written | Text::Plain => None,
    };
    let mut examinee = Examinee { domain, eyes, author: author.as_mut().map(|author| author as _) };
    let familiar_from = Policy::default().familiar_from;
    let plan = DomainPlan { dataset: order.dataset, strangers: order.strangers, familiar_from, output: order.output };
    let bar = progress::bar(0, "looking at pictures");
    let evaluation = evaluate_domain(&mut examinee, plan, &mut progress::counting(&bar));
    bar.finish_and_clear();
    Ok(evaluation?)
}

/// Prints what came of it.
///
/// # Errors
/// When standard output cannot be written.
pub(super) fn say(evaluation: &DomainEvaluation) -> anyhow::Result<Outcome> {
    print_line(&format!("{} pictures measured, {} left out", evaluation.head.n_images, evaluation.left_out.len()))?;
    for line in evaluation.head.lines() {
        print_line(&line)?;
    }
    if let Some(spoken) = &evaluation.language_model {
        let shares = [
            ("language accuracy", Some(spoken.accuracy)),
            ("language agreement", Some(spoken.agreement_with_head)),
            ("accuracy where agreed", spoken.accuracy_where_agreed),
            ("valid JSON", Some(spoken.valid_json)),
            ("hallucinated on good", spoken.hallucinated_on_good),
            ("accuracy, blanked", spoken.accuracy_blanked),
        ];
        for (name, share) in shares.into_iter().filter_map(|(name, share)| Some((name, share?))) {
            print_line(&format!("{name:<22} {}", share.text()))?;
        }
    }
    if let Some(strangers) = &evaluation.strangers {
        print_line(&format!("{:<22} {:.4}", "strangers' AUROC", strangers.image_auroc))?;
        print_line(&format!("{:<22} {}", "own refused", strangers.own_refused.text()))?;
        print_line(&format!("{:<22} {}", "strangers refused", strangers.strangers_refused.text()))?;
    }
    for latency in [evaluation.latency_ms, evaluation.language_latency_ms].into_iter().flatten() {
        print_line(&latency_line(latency))?;
    }
    Ok(Outcome::Done)
}
