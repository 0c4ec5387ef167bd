use models::domain::Label;
use serde::{Deserialize, Serialize};

use super::{examinee::Ablated, findings::Looked};
use crate::{
    eval::metrics::{Interval, Roc, Scored, clopper_pearson},
    head::table::{MeasureRow, MeasureTable, range, three},
};

/// A share of pictures.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Share {
    /// In 0..=1.
    pub share: f64,
    /// Of how many.
    pub n: usize,
    /// Clopper-Pearson 95 % interval; `None` where cases depend on each other.
    pub interval_95: Option<Interval>,
}

impl Share {
    /// Returns the share of those that are true; `None` of none.
    pub(super) fn of(of: impl IntoIterator<Item = bool>) -> Option<Self> {
        let all: Vec<bool> = of.into_iter().collect();
        let (hits, n) = (all.iter().filter(|is_hit| **is_hit).count() as f64, all.len());
        (n > 0).then(|| Self { share: hits / n as f64, n, interval_95: clopper_pearson(hits, n as f64) })
    }

    /// Returns the share without an interval, for cases several of which are of one picture.
    fn of_dependent(of: impl IntoIterator<Item = bool>) -> Option<Self> {
        Self::of(of).map(|share| Self { interval_95: None, ..share })
    }

    pub(super) fn row(&self, name: &'static str, meaning: &'static str) -> MeasureRow {
        let (value, interval) = (three(self.share), range(self.interval_95));
        MeasureRow { name, meaning, value, interval, beside: self.n.to_string() }
    }
}

/// How well the language model names what it sees.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct SpokenMeasures {
    /// Answers that name the true label.
    pub accuracy: Share,
    /// Answers that name what the head names.
    pub agreement_with_head: Share,
    /// Where both agree, answers that are true; `None` where they never do.
    pub accuracy_where_agreed: Option<Share>,
    /// Answers that were one of the domain's labels in valid JSON.
    pub valid_json: Share,
    /// Of what the answers say, subject and finding each, what does not hold of the picture; of pictures of which nothing is the matter, `None`
    /// without such pictures.
    pub untrue_facts_on_good: Option<Share>,
    /// The same of all pictures.
    pub untrue_facts: Share,
    /// Of pictures of which nothing is the matter, those in which it names something; `None` without such pictures.
    pub hallucinated_on_good: Option<Share>,
    /// Answers that would be true if every picture were grey: what it guesses without looking; `None` where it names nothing then.
    pub accuracy_blanked: Option<Share>,
    /// Answers that are true where the picture is grey, but what the head says of it is told in words; `None` where nobody asked for it.
    pub accuracy_facts_only: Option<Share>,
    /// Answers that are true where it is told that beside the picture; `None` where nobody asked for it.
    pub accuracy_both: Option<Share>,
}

impl SpokenMeasures {
    /// Returns the measures of pictures at which the language model looked, which answers `blank` about a grey one; `None` without any.
    pub(super) fn of(labels: &[Label], looked: &[Looked], blank: Option<usize>) -> Option<Self> {
        let reads_as = |named: Option<usize>, label: usize| named.is_some_and(|it| labels[it].reads_as(&labels[label]));
        let is_right = |one: &Looked| reads_as(one.named(), one.truth);
        let agrees = |one: &&Looked| one.is_agreed(labels);
        let good = || looked.iter().filter(|one| labels[one.truth].is_good());
        let untrue = |one: &Looked| {
            one.named().into_iter().flat_map(|named| untrue(&labels[named], &labels[one.truth])).collect::<Vec<_>>()
        };
        let with_facts = |named: fn(&Ablated) -> Option<usize>| {
            let answers = looked.iter().filter_map(|one| Some(reads_as(named(one.found.ablated.as_ref()?), one.truth)));
            Share::of(answers)
        };
        Some(Self {
            accuracy: Share::of(looked.iter().map(is_right))?,
            agreement_with_head: Share::of(looked.iter().map(|one| agrees(&one)))?,
            accuracy_where_agreed: Share::of(looked.iter().filter(agrees).map(is_right)),
            valid_json: Share::of(looked.iter().map(|one| one.named().is_some()))?,
            hallucinated_on_good: Share::of(
                good().map(|one| one.named().is_some_and(|named| !labels[named].is_good())),
            ),
            untrue_facts_on_good: Share::of_dependent(good().flat_map(untrue)),
            untrue_facts: Share::of_dependent(looked.iter().flat_map(untrue))?,
            accuracy_blanked: blank
                .and_then(|blank| Share::of(looked.iter().map(|one| reads_as(Some(blank), one.truth)))),
            accuracy_facts_only: with_facts(|ablated| ablated.facts_only),
            accuracy_both: with_facts(|ablated| ablated.both),
        })
    }
}

/// Returns of subject and finding whether each is untrue.
fn untrue(named: &Label, truth: &Label) -> [bool; 2] {
    [named.subject != truth.subject, named.finding != truth.finding]
}

impl SpokenMeasures {
    /// Returns the shares that are defined, for a person.
    pub(super) fn table(&self) -> MeasureTable {
        let Self { accuracy, agreement_with_head, accuracy_where_agreed, valid_json, .. } = *self;
        let rows = [
            ("accuracy", "pictures named rightly", Some(accuracy)),
            ("agreement_with_head", "pictures that head and language model name alike", Some(agreement_with_head)),
            ("accuracy_where_agreed", "of these, pictures named rightly", accuracy_where_agreed),
            ("valid_json", "answers that are one of the domain's labels in valid JSON", Some(valid_json)),
            (
                "hallucinated_on_good",
                "of pictures of which nothing is the matter, those in which it names something",
                self.hallucinated_on_good,
            ),
            (
                "untrue_facts_on_good",
                "subjects and findings in its answers that do not hold, of pictures of which nothing is the matter",
                self.untrue_facts_on_good,
            ),
            (
                "untrue_facts",
                "subjects and findings in its answers that do not hold, of all pictures",
                Some(self.untrue_facts),
            ),
            (
                "accuracy_blanked",
                "answers that would be true if every picture were grey: guessed without looking",
                self.accuracy_blanked,
            ),
            (
                "accuracy_facts_only",
                "answers that are true of a grey picture of which it is told what the head says of the real one",
                self.accuracy_facts_only,
            ),
            ("accuracy_both", "answers that are true of the picture, of which it is told the same", self.accuracy_both),
        ];
        MeasureTable {
            title: "Language model",
            note: "It looks through the same eyes as the head. Intervals are exact binomial.",
            beside: "Cases",
            rows: rows.into_iter().filter_map(|(name, meaning, share)| Some(share?.row(name, meaning))).collect(),
        }
    }
}

/// Limits of familiarity that are tried, with what each is called.
const LIMITS: [(f64, &str); 5] = [
    (0.005, "familiar_from = 0.005"),
    (0.01, "familiar_from = 0.01"),
    (0.02, "familiar_from = 0.02"),
    (0.05, "familiar_from = 0.05"),
    (0.1, "familiar_from = 0.1"),
];

/// What one limit of familiarity would refuse.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Refusals {
    /// A picture of less familiarity, in 0..=1, would be refused.
    pub familiar_from: f64,
    /// Of its own pictures, those that it would take for strangers.
    pub own_refused: Share,
    /// Of the others, those that it would take for strangers.
    pub strangers_refused: Share,
}

/// How well a domain knows what is not its own.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StrangerMeasures {
    /// Area under the ROC curve of strangeness, its own pictures against the others.
    pub image_auroc: f64,
    /// Of its own pictures, those that it takes for strangers.
    pub own_refused: Share,
    /// Of the others, those that it takes for strangers.
    pub strangers_refused: Share,
    /// The same at other limits, for whoever has to set one.
    pub by_limit: Vec<Refusals>,
}

impl StrangerMeasures {
    /// Returns what each limit would refuse, for a person.
    pub(super) fn limits_table(&self) -> MeasureTable {
        let row = |(one, (_, name)): (&Refusals, &(f64, &'static str))| MeasureRow {
            beside: three(one.own_refused.share),
            ..one.strangers_refused.row(name, "of the others, those that it would take for strangers")
        };
        MeasureTable {
            title: "Where to draw the line",
            note: "A key of a station's eyes. What is refused, a person sees: of the others that is right, of its own a waste.",
            beside: "Of its own",
            rows: self.by_limit.iter().zip(&LIMITS).map(row).collect(),
        }
    }

    /// Returns the measures for a person.
    pub(super) fn table(&self) -> MeasureTable {
        let meaning = "a stranger looks stranger than a picture of the domain's own";
        let auroc = MeasureRow {
            name: "image_auroc",
            meaning,
            value: three(self.image_auroc),
            interval: range(None),
            beside: (self.own_refused.n + self.strangers_refused.n).to_string(),
        };
        let rows = vec![
            auroc,
            self.own_refused.row("own_refused", "of its own pictures, those that it takes for strangers"),
            self.strangers_refused.row("strangers_refused", "of the others, those that it takes for strangers"),
        ];
        MeasureTable {
            title: "Strangers",
            note: "Whether the domain knows what is not its own. What it takes for a stranger, a person sees.",
            beside: "Pictures",
            rows,
        }
    }
}

/// How strange a picture is to a domain.
#[derive(Debug, Clone, Copy)]
pub(super) struct Strangeness {
    pub(super) score: f32,
    /// In 0..=1.
    pub(super) familiarity: f64,
}

impl StrangerMeasures {
    /// Returns the measures of the domain's own pictures and others, of which those below a familiarity of `familiar_from` are refused; `None` where
    /// there are none of one kind.
    pub(super) fn of(own: &[Strangeness], others: &[Strangeness], familiar_from: f64) -> Option<Self> {
        let scored = |is_defect: bool| move |one: &Strangeness| Scored { score: f64::from(one.score), is_defect };
        let all: Vec<Scored> = own.iter().map(scored(false)).chain(others.iter().map(scored(true))).collect();
        let refused = |all: &[Strangeness], limit: f64| Share::of(all.iter().map(|one| one.familiarity < limit));
        let refusals = |&(limit, _): &(f64, _)| {
            let (own_refused, strangers_refused) = (refused(own, limit)?, refused(others, limit)?);
            Some(Refusals { familiar_from: limit, own_refused, strangers_refused })
        };
        Some(Self {
            image_auroc: Roc::of(&all)?.auroc(),
            own_refused: refused(own, familiar_from)?,
            strangers_refused: refused(others, familiar_from)?,
            by_limit: LIMITS.iter().filter_map(refusals).collect(),
        })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::Duration;

    use models::domain::Opinion;

    use super::*;
    use crate::head::domain_evaluation::examinee::{Found, Spoken};

    pub(in super::super) fn label(finding: &str) -> Label {
        let [id, task, subject] = ["x", "leaves", "oak leaf"].map(str::to_owned);
        Label { id, task, subject, finding: finding.to_owned(), knowledge: None }
    }

    pub(in super::super) fn looked(truth: usize, head: usize, named: Option<usize>) -> Looked {
        let mut probabilities = vec![0.1; 3];
        probabilities[head] = 0.9;
        let opinion = Opinion { probabilities, strangeness: 1.0, familiarity: 0.5 };
        let latency = Duration::from_millis(1);
        Looked { truth, found: Found { opinion, latency, spoken: Some(Spoken { named, latency }), ablated: None } }
    }

    #[test]
    fn counts_what_is_said_what_agrees_and_what_is_made_up() {
        let labels = [label("healthy"), label("mildew")];
        let all = [looked(0, 0, Some(0)), looked(0, 0, Some(1)), looked(1, 1, Some(1)), looked(1, 0, None)];
        let found = SpokenMeasures::of(&labels, &all, Some(1)).unwrap();
        let shares = [found.accuracy, found.agreement_with_head, found.valid_json, found.accuracy_blanked.unwrap()];
        assert_eq!(shares.map(|share| (share.share, share.n)), [(0.5, 4), (0.5, 4), (0.75, 4), (0.5, 4)]);
        let (agreed, made_up) = (found.accuracy_where_agreed.unwrap(), found.hallucinated_on_good.unwrap());
        assert_eq!([(agreed.share, agreed.n), (made_up.share, made_up.n)], [(1.0, 2), (0.5, 2)]);
        assert!(SpokenMeasures::of(&labels, &[], None).is_none());

        let twins = [label("healthy"), label("healthy")];
        let found = SpokenMeasures::of(&twins, &[looked(1, 1, Some(0)), looked(0, 1, Some(0))], Some(0)).unwrap();
        let shares = [found.accuracy, found.agreement_with_head, found.accuracy_blanked.unwrap()];
        assert!(shares.iter().all(|share| share.share > 0.99), "classes of the same words are the same to it");
    }

    #[test]
    fn untrue_subjects_and_findings_are_counted_one_by_one() {
        let pine = Label { subject: "pine needle".to_owned(), ..label("mildew") };
        let labels = [label("healthy"), label("mildew"), pine];
        // Right; a finding too many; another subject, too; an answer that is none holds no fact.
        let all = [looked(0, 0, Some(0)), looked(0, 0, Some(1)), looked(0, 0, Some(2)), looked(1, 1, None)];
        let found = SpokenMeasures::of(&labels, &all, None).unwrap();
        let shares = [found.untrue_facts, found.untrue_facts_on_good.unwrap()];
        assert_eq!(shares.map(|share| (share.share, share.n)), [(0.5, 6), (0.5, 6)]);
    }

    #[test]
    fn answers_with_facts_are_counted_where_they_were_asked_for() {
        let labels = [label("healthy"), label("mildew")];
        let ablated = |facts_only, both| {
            let Looked { truth, found } = looked(1, 1, Some(1));
            Looked { truth, found: Found { ablated: Some(Ablated { facts_only, both }), ..found } }
        };
        let all = [ablated(Some(0), Some(1)), ablated(Some(1), Some(1)), ablated(None, Some(0)), looked(1, 1, Some(1))];
        let found = SpokenMeasures::of(&labels, &all, None).unwrap();
        let shares = [found.accuracy_facts_only, found.accuracy_both].map(|share| share.map(|share| share.n));
        assert_eq!(shares, [Some(3), Some(3)]);
        assert!((found.accuracy_facts_only.unwrap().share - 1.0 / 3.0).abs() < 1e-12);
        assert!((found.accuracy_both.unwrap().share - 2.0 / 3.0).abs() < 1e-12);
        assert!(SpokenMeasures::of(&labels, &all[3..], None).unwrap().accuracy_both.is_none());
    }

    #[test]
    fn tells_strangers_by_their_score() {
        let of = |score: f32, familiarity: f64| Strangeness { score, familiarity };
        let (own, others) = ([of(1.0, 0.9), of(3.0, 0.009)], [of(2.0, 0.06), of(9.0, 0.001)]);
        let found = StrangerMeasures::of(&own, &others, 0.01).unwrap();
        assert!((found.image_auroc - 0.75).abs() < 1e-12);
        assert_eq!((found.own_refused.share, found.strangers_refused.share), (0.5, 0.5));
        let limits: Vec<_> =
            found.by_limit.iter().map(|one| (one.own_refused.share, one.strangers_refused.share)).collect();
        assert_eq!(limits, [(0.0, 0.5), (0.5, 0.5), (0.5, 0.5), (0.5, 0.5), (0.5, 1.0)]);
        assert!(StrangerMeasures::of(&own, &[], 0.01).is_none());
    }
}
