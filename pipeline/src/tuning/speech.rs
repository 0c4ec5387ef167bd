//! The course in which the language model learns to look by the trained eyes.

use std::path::{Path, PathBuf};

use fastrand::Rng;
use image::{Rgb, RgbImage};
use models::{
    Eyes, ModelError,
    decoder::DecoderOptions,
    domain::{Domain, Label, Look, Tongue},
    hash::{file_sha256, sha256},
    language::LanguageModel,
    tuning::{Score, augmented},
    visual_tuning::{BATCH_PICTURES, Survey, VisualTuner, VisualTuningOptions},
};
use serde::Serialize;
use serde_json::Value;

use super::{
    Album, Epoch, Progress, SpeechPlan, TuningPlan, Workshop,
    album::Pages,
    epochs::{Course, Run, Schedule, mean, shown},
};
use crate::head::HeadError;

/// Steps of an epoch, at least.
const LEAST_STEPS: usize = 20;
/// Epochs without a better validation loss after which the course ends.
const PATIENCE: usize = 3;
/// The last epoch, while the course is not over.
pub(super) const CHECKPOINT: &str = "speech_last.safetensors";
/// The best epoch, while the course is not over.
pub(super) const BEST: &str = "speech_best.safetensors";

/// What is put in the place of a picture.
const GREY: Rgb<u8> = Rgb([127; 3]);

/// How the language model learned to look, and how well it does.
#[derive(Debug, Clone, Serialize)]
pub struct Speech {
    /// Of the language model's file.
    pub language_sha256: String,
    /// How it was taught.
    pub options: VisualTuningOptions,
    /// Every epoch; `accuracy` is the share of answers of which every token is the likeliest, whether or not the grammar would force it.
    pub epochs: Vec<Epoch>,
    /// The one whose weights were kept.
    pub best_epoch: usize,
    /// Of all epochs together.
    pub seconds: f64,
    /// Its answers about the validation part.
    pub validation: Exam,
}

/// How often the language model answers rightly, asked as at run time.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Exam {
    /// Share of the pictures. Those that chose the epoch make it a little too good.
    pub accuracy: f64,
    /// The share if it said of every picture what it says of a grey one: what it knows without looking.
    pub blanked_accuracy: f64,
}

/// A language model that has learned to look.
pub(super) struct Taught {
    pub(super) tongue: Tongue,
    /// Its file.
    pub(super) language: PathBuf,
    language_sha256: String,
    options: VisualTuningOptions,
    run: Run,
}

/// The language model, the eyes, and the pictures that teach it.
struct SpeechCourse<'a> {
    tuner: VisualTuner,
    eyes: &'a mut Eyes,
    album: &'a Album,
    seed: u64,
    epochs: usize,
}

/// Teaches the language model to look by `eyes`.
///
/// # Errors
/// As [`super::tune`].
pub(super) fn teach(
    plan: &TuningPlan,
    SpeechPlan { epochs, language }: &SpeechPlan,
    (eyes, album, labels): (&mut Eyes, &Album, &[Label]),
    (workshop, fingerprint): (Workshop<'_>, &str),
    watch: &mut dyn FnMut(Progress<'_>),
) -> Result<Taught, HeadError> {
    let folder = &plan.pictures.output;
    let language_sha256 = file_sha256(language).map_err(HeadError::io(language))?;
    let mut survey = Survey::default();
    let Pages { pictures, labels: truths } = &album.plain;
    for (done, (picture, &label)) in pictures.iter().zip(truths).enumerate() {
        survey.add(&eyes.see_scaled(picture.clone())?.cells, label);
        watch(Progress::Describing(done + 1, pictures.len()));
    }
    let (seed, epochs) = (plan.pictures.seed, *epochs);
    let options = VisualTuningOptions { steps: epochs * steps(album), seed, ..VisualTuningOptions::default() };
    let tuner = VisualTuner::new(workshop.device, language, labels, &survey, options)?;
    let mut course = SpeechCourse { tuner, eyes, album, seed, epochs };
    let words: Vec<String> = labels.iter().map(Label::answer).collect();
    let schedule = Schedule {
        epochs,
        patience: PATIENCE,
        last: folder.join(CHECKPOINT),
        best: folder.join(BEST),
        fingerprint: format!(
            "{fingerprint}\nspeech epochs {epochs}\nlanguage model {language_sha256}\nanswers {}",
            sha256(words.join("\n"))
        ),
        advice: "delete it to teach the language model anew",
    };
    let run = Run::through(&mut course, &schedule, watch)?;
    Ok(Taught { tongue: course.tuner.tongue()?, language: language.clone(), language_sha256, options, run })
}

impl Speech {
    /// Returns how the language model learned and how it did.
    pub(super) fn of(Taught { language_sha256, options, run, .. }: Taught, validation: Exam) -> Self {
        Self {
            language_sha256,
            options,
            best_epoch: run.best(),
            seconds: run.history.iter().map(|epoch| epoch.seconds).sum(),
            epochs: run.history,
            validation,
        }
    }
}

impl Exam {
    /// Asks the language model in the file `language` about pictures, one at least, by the domain's own `eyes`.
    pub(super) fn of(
        (domain, eyes): (&Domain, &mut Eyes),
        (language, pages): (&Path, &Pages),
        watch: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Self, HeadError> {
        let mut model = LanguageModel::from_gguf(language, DecoderOptions::default())?;
        let mut keys = 0..;
        let mut answer = |picture: RgbImage| {
            let sight = eyes.see_scaled(picture)?;
            let answer = domain
                .ask(&mut model, Look { sight: &sight, frame_key: keys.next().unwrap_or_default(), facts: "" })?;
            Ok::<_, ModelError>(&domain.labels()[answer.label])
        };
        let is_right = |answer: &Label, label: usize| answer.reads_as(&domain.labels()[label]);
        let total = pages.pictures.len();
        let (width_px, height_px) = pages.pictures.first().map_or((0, 0), RgbImage::dimensions);
        let blank = answer(RgbImage::from_pixel(width_px, height_px, GREY))?;
        let mut right = 0;
        for (done, (picture, label)) in pages.pictures.iter().zip(&pages.labels).enumerate() {
            right += usize::from(is_right(answer(picture.clone())?, *label));
            watch(Progress::Asking(done + 1, total));
        }
        let right_blanked = pages.labels.iter().filter(|label| is_right(blank, **label)).count();
        let share = |count: usize| count as f64 / total as f64;
        Ok(Self { accuracy: share(right), blanked_accuracy: share(right_blanked) })
    }
}

impl Course for SpeechCourse<'_> {
    fn start(&mut self) -> Result<(), HeadError> {
        Ok(())
    }

    fn pass(&mut self, epoch: usize, watch: &mut dyn FnMut(Progress<'_>)) -> Result<f64, HeadError> {
        let Self { tuner, eyes, album, seed, epochs } = self;
        let mut random = Rng::with_seed(seed.wrapping_mul(1 << 20) ^ epoch as u64);
        let steps = steps(album);
        let order = draw(&album.train.labels, steps * BATCH_PICTURES, &mut random);
        let mut losses: Vec<f64> = Vec::with_capacity(steps);
        for batch in order.chunks(BATCH_PICTURES) {
            let view = |&index: &usize| {
                let view = augmented(&album.train.pictures[index], album.input_px, &mut random);
                Ok((eyes.see_scaled(view)?.cells, album.train.labels[index]))
            };
            let views = batch.iter().map(view).collect::<Result<Vec<_>, ModelError>>()?;
            losses.push(f64::from(tuner.step(&views)?));
            watch(Progress::Teaching(tuner.steps(), steps * *epochs, shown(&losses)));
        }
        Ok(mean(&losses))
    }

    fn score(&mut self, watch: &mut dyn FnMut(Progress<'_>)) -> Result<Score, HeadError> {
        let Pages { pictures, labels } = &self.album.validation;
        let (mut losses, mut right) = (Vec::with_capacity(pictures.len()), 0_u32);
        for (picture, &label) in pictures.iter().zip(labels) {
            let reading = self.tuner.read(&self.eyes.see_scaled(picture.clone())?.cells, label)?;
            losses.push(f64::from(reading.loss));
            right += u32::from(reading.is_right);
            watch(Progress::Asking(losses.len(), pictures.len()));
        }
        Ok(Score { loss: mean(&losses), accuracy: f64::from(right) / losses.len().max(1) as f64 })
    }

    fn over<'a>(&self, epoch: &'a Epoch) -> Progress<'a> {
        Progress::SpeechEpoch(epoch)
    }

    fn save(&self, path: &Path, run: &Value) -> Result<(), ModelError> {
        self.tuner.save(path, run)
    }

    fn run_in(&self, path: &Path) -> Result<Value, ModelError> {
        VisualTuner::run_in(path)
    }

    fn resume(&mut self, path: &Path) -> Result<(), ModelError> {
        self.tuner.resume(path)
    }
}

/// Returns the steps of an epoch.
fn steps(album: &Album) -> usize {
    album.train.labels.len().div_ceil(BATCH_PICTURES).max(LEAST_STEPS)
}

/// Returns `draws` pictures by index. A class weighs as the root of its pictures: rare ones more than their share, but no picture of theirs is
/// seen too often.
fn draw(labels: &[usize], draws: usize, random: &mut Rng) -> Vec<usize> {
    let classes = labels.iter().max().map_or(0, |most| most + 1);
    let members = |class| (0..labels.len()).filter(|&index| labels[index] == class).collect::<Vec<usize>>();
    let members: Vec<Vec<usize>> = (0..classes).map(members).collect();
    let total: f64 = members.iter().map(|members| (members.len() as f64).sqrt()).sum();
    let (mut order, mut weight) = (Vec::with_capacity(draws), 0.0);
    for mut members in members {
        weight += (members.len() as f64).sqrt();
        random.shuffle(&mut members);
        let end = (weight / total * draws as f64).round() as usize;
        let share = end - order.len();
        order.extend(members.into_iter().cycle().take(share));
    }
    random.shuffle(&mut order);
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rare_classes_are_drawn_more_often_than_their_share() {
        let labels = [vec![0; 16], vec![1; 4], vec![2; 1]].concat();
        let drawn = draw(&labels, 70, &mut Rng::with_seed(1));
        let of = |class: usize| drawn.iter().filter(|&&index| labels[index] == class).count();
        assert_eq!([of(0), of(1), of(2)], [40, 20, 10]);
        assert_ne!(drawn, draw(&labels, 70, &mut Rng::with_seed(2)));
    }
}
