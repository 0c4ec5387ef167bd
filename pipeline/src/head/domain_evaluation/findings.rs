use std::collections::BTreeMap;

use models::{
    domain::{Domain, Label, Opinion, Told},
    hash::hexadecimal,
};

use super::{
    DOMAIN_SCHEMA, DomainEvaluation, DomainPlan, JudgementMeasures, SpokenMeasures, StrangerMeasures, TakenFor,
    examinee::Found, measures::Strangeness,
};
use crate::{
    eval::{Latency, layout::data_sha256},
    head::{
        ClassMeasures, Classified, HeadError, Picture,
        evaluation::{Beside, Measured, Prediction, write},
        page::{Exhibit, Gallery, Page, Shot, Tile},
        table::MeasureTable,
    },
};

/// What was found in a picture of the domain's own.
#[derive(Debug)]
pub(super) struct Looked {
    /// Its label.
    pub(super) truth: usize,
    pub(super) found: Found,
}

impl Looked {
    /// Returns the label that the language model named.
    pub(super) fn named(&self) -> Option<usize> {
        self.found.spoken?.named
    }

    /// Returns whether the language model says what the head says, in the same words.
    pub(super) fn is_agreed(&self, labels: &[Label]) -> bool {
        let best = &labels[self.told(labels)];
        self.named().is_some_and(|named| labels[named].reads_as(best))
    }

    /// Returns the label whose words a report would tell.
    pub(super) fn told(&self, labels: &[Label]) -> usize {
        self.found.opinion.told(labels)[0].label
    }

    fn classified(&self) -> Classified {
        Classified { truth: self.truth, probabilities: self.found.opinion.probabilities.clone() }
    }
}

/// Pictures by the SHA-256 of their files.
type Pictures = Vec<(Picture, [u8; 32])>;

/// Everything that was found.
#[derive(Debug)]
pub(super) struct Findings<'a> {
    pub(super) domain: &'a Domain,
    pub(super) plan: DomainPlan<'a>,
    pub(super) taken_for: TakenFor,
    pub(super) own: Pictures,
    /// In each of its own pictures.
    pub(super) looked: Vec<Looked>,
    pub(super) others: Pictures,
    /// In each of the others.
    pub(super) strange: Vec<Found>,
    /// What the language model names in a grey picture.
    pub(super) blank: Option<usize>,
}

impl Findings<'_> {
    /// Sums everything up, writes the files and returns the numbers.
    pub(super) fn written(&self, measured: Measured<'_>) -> Result<DomainEvaluation, HeadError> {
        let labels: Vec<String> = self.domain.labels().iter().map(Label::text).collect();
        let predictions = self.predictions(&labels);
        let summary = self.summed(measured, &labels, &predictions)?;
        let page = Page::of(&summary.evaluation, self.exhibit(&summary), &predictions)?;
        let lines: Vec<&Prediction> = predictions.iter().collect();
        write(self.plan.output, &summary, &page, (&labels, &lines))?;
        Ok(summary)
    }

    fn predictions(&self, labels: &[String]) -> Vec<Prediction> {
        let prediction = |((picture, digest), looked): (&(Picture, [u8; 32]), &Looked)| {
            let one = looked.classified();
            let (said, confidence) = (one.said(), one.confidence());
            let Found { opinion, latency, spoken, .. } = &looked.found;
            Prediction {
                seed: None,
                path: picture.path.clone(),
                place: picture.place,
                sha256: picture.content(digest),
                class: picture.class.clone(),
                said: labels[said].clone(),
                is_right: one.is_right(),
                probability: confidence,
                beside: Some(Beside {
                    label: labels[looked.truth].clone(),
                    named: looked.named().map(|named| labels[named].clone()),
                    is_agreed: spoken.map(|_| looked.is_agreed(self.domain.labels())),
                    familiarity: opinion.familiarity,
                    strangeness: opinion.strangeness,
                    is_refused: self.is_refused(opinion),
                    language_latency_ms: spoken.map(|spoken| spoken.latency.as_secs_f64() * 1e3),
                }),
                latency_ms: latency.as_secs_f64() * 1e3,
                probabilities: one.probabilities,
            }
        };
        self.own.iter().zip(&self.looked).map(prediction).collect()
    }

    fn is_refused(&self, opinion: &Opinion) -> bool {
        opinion.familiarity < self.plan.familiar_from
    }

    fn summed(
        &self,
        measured: Measured<'_>,
        labels: &[String],
        predictions: &[Prediction],
    ) -> Result<DomainEvaluation, HeadError> {
        let classified: Vec<Classified> = self.looked.iter().map(Looked::classified).collect();
        let measures = ClassMeasures::of(labels, &[classified]).map(ClassMeasures::of_occurring_classes);
        let spoken = || SpokenMeasures::of(self.domain.labels(), &self.looked, self.blank);
        let times = predictions.iter().filter_map(|one| one.beside.as_ref()?.language_latency_ms);
        let times: Vec<f64> = times.collect();
        Ok(DomainEvaluation {
            evaluation: measured.summed(DOMAIN_SCHEMA, measures, predictions)?,
            domain: self.domain.name().to_owned(),
            domain_sha256: self.domain.sha256().to_owned(),
            labels: labels.to_vec(),
            taken_for: self.taken_for.clone(),
            familiar_from: self.plan.familiar_from,
            judgement: JudgementMeasures::of(self.domain.labels(), &self.looked),
            language_model: if times.is_empty() { None } else { spoken() },
            strangers: self.strangers(),
            strangers_sha256: self.strangers_sha256(),
            language_latency_ms: Latency::of(times),
        })
    }

    /// Returns `None` without strangers that can be read.
    fn strangers(&self) -> Option<StrangerMeasures> {
        let strangeness =
            |opinion: &Opinion| Strangeness { score: opinion.strangeness, familiarity: opinion.familiarity };
        let own: Vec<Strangeness> = self.looked.iter().map(|one| strangeness(&one.found.opinion)).collect();
        let others: Vec<Strangeness> = self.strange.iter().map(|found| strangeness(&found.opinion)).collect();
        StrangerMeasures::of(&own, &others, self.plan.familiar_from)
    }

    fn strangers_sha256(&self) -> Option<String> {
        let digests = self.others.iter().map(|(_, digest)| hexadecimal(digest));
        (!self.others.is_empty()).then(|| data_sha256(digests.collect()))
    }

    fn exhibit(&self, summary: &DomainEvaluation) -> Exhibit {
        let DomainEvaluation { evaluation, domain, .. } = summary;
        let n_images = self.looked.len();
        let refused = self.looked.iter().filter(|one| self.is_refused(&one.found.opinion)).count();
        let refused = Tile { name: "Refused", value: refused, beside: format!("of {n_images} of its own") };
        let agreed = summary.language_model.map(|_| {
            let agreed = self.looked.iter().filter(|one| one.is_agreed(self.domain.labels())).count();
            Tile {
                name: "Agreed",
                value: agreed,
                beside: format!("of {n_images} named alike by head and language model"),
            }
        });
        let mut tables = vec![MeasureTable::of(&evaluation.measures, &BTreeMap::new())];
        tables.extend(summary.tables());
        Exhibit {
            heading: format!("the domain {domain}"),
            subject: format!(
                "{domain} has not learned from. Their folders are taken for the classes of {}",
                self.taken_for.words()
            ),
            tiles: agreed.into_iter().chain([refused]).collect(),
            tables,
            times: vec![("Eyes and head", evaluation.latency_ms), ("Language model", summary.language_latency_ms)],
            galleries: vec![self.known_strangers()],
        }
    }

    /// Returns the strangers that are taken for the domain's own, the most familiar first.
    fn known_strangers(&self) -> Gallery {
        let all = self.others.iter().zip(&self.strange).map(|((picture, _), found)| (picture, &found.opinion));
        let mut known: Vec<(&Picture, &Opinion)> = all.filter(|(_, opinion)| !self.is_refused(opinion)).collect();
        known.sort_by(|(_, a), (_, b)| b.familiarity.total_cmp(&a.familiarity));
        let shot = |(picture, opinion): (&Picture, &Opinion)| {
            let Told { label, probability } = opinion.told(self.domain.labels())[0];
            let said = self.domain.labels()[label].text();
            Shot::of(
                (&picture.path, picture.place),
                (&said, probability),
                vec![format!("familiarity {:.3}", opinion.familiarity)],
            )
        };
        let title = ("Strangers that it takes for its own", "The most familiar first.");
        Gallery::of(title, known.into_iter().map(shot))
    }
}
