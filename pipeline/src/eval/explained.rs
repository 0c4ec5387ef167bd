//! What measures are called and what they say.

/// Measures in the order of pages and tables, and what they say in words.
pub(super) const EXPLAINED: [(&str, &str); 19] = [
    ("image_auroc", "a defective image scores higher than a good one"),
    ("image_aupr", "average precision of the ranking"),
    ("image_f1_max", "best F1 over all thresholds: an upper bound"),
    ("tpr_at_overkill_1pct", "defects caught when 1 % of good parts may be rejected"),
    ("tpr_at_overkill_5pct", "defects caught when 5 % of good parts may be rejected"),
    ("escape_rate", "defective images that passed at the deployed threshold"),
    ("overkill_rate", "good images that were rejected at the deployed threshold"),
    ("accuracy", "images judged rightly at the deployed threshold"),
    ("macro_f1", "mean F1 over the classes at the deployed threshold"),
    ("aurc", "mean share of wrong verdicts among the surest, over all coverages"),
    ("accuracy_at_coverage_80pct", "judged rightly when a person judges the fifth that is nearest to the threshold"),
    ("pixel_auroc", "a defective pixel is hotter than a clean one"),
    ("aupro", "overlap with each defective region, up to 30 % of clean pixels"),
    ("precision", "found boxes that are right, at IoU 0.33"),
    ("recall", "labelled boxes that were found, at IoU 0.33"),
    ("f1", "both together"),
    ("ap_033", "average precision of boxes of any type"),
    ("map_033", "mean average precision over the types"),
    ("matched_macro_f1", "mean F1 of the names of found boxes"),
];

/// Measures that heads alone have.
pub(super) const OF_HEADS: [(&str, &str); 2] = [
    ("calibration_error", "mean distance of confidence and accuracy"),
    ("log_loss", "mean of -ln of the true class's probability"),
];

/// Names of measures that domains alone have: shares that head and language model reach, and how well strangers are known.
pub(super) const OF_DOMAINS: [&str; 12] = [
    "judgement.accuracy",
    "judgement.escape_rate",
    "judgement.overkill_rate",
    "language_model.accuracy",
    "language_model.accuracy_where_agreed",
    "language_model.hallucinated_on_good",
    "language_model.untrue_facts",
    "language_model.accuracy_facts_only",
    "language_model.accuracy_both",
    "strangers.image_auroc",
    "strangers.own_refused",
    "strangers.strangers_refused",
];

/// Returns whether `measure` is of pictures that are not the domain's own, too.
pub(super) fn is_of_strangers(measure: &str) -> bool {
    ["strangers.image_auroc", "strangers.strangers_refused"].contains(&measure)
}

/// Returns whether a smaller value of `measure` is better.
pub(super) fn is_better_smaller(measure: &str) -> bool {
    const SMALLER: [&str; 10] = [
        "escape_rate",
        "overkill_rate",
        "aurc",
        "calibration_error",
        "log_loss",
        "judgement.escape_rate",
        "judgement.overkill_rate",
        "language_model.hallucinated_on_good",
        "language_model.untrue_facts",
        "strangers.own_refused",
    ];
    SMALLER.contains(&measure)
}
