use std::{
    fs,
    path::{Path, PathBuf},
};

use models::{
    Encoder, Scope,
    hash::sha256,
    head::{Choice, Examples, Fit, Head, LossPoint, Origin, fit},
};
use serde::Serialize;

use super::{
    ClassLayout, ClassMeasures, Classified, HEAD_FILE, HeadError, LeftOut, Part, Parts, Picture,
    card::Card,
    charts::{By, ConfusionChart, LossChart, rendered},
    features::{Described, Describer, JOURNAL},
    layout::Listing,
    output::{check_output, write_texts},
    parts::classes,
};

/// The version that `head.json` carries in its field `schema`.
const SCHEMA: &str = "loupe.head-card/1";

/// What a head is made of, and where it goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeadPlan {
    /// Class folders, or folders `train...`, `val...` and `test...` of class folders; see [`super::read`].
    pub data: PathBuf,
    /// How they lie there.
    pub layout: ClassLayout,
    /// Class folders that choose penalty and temperature; without them and without a validation part in `data`, a fifth of `data` does.
    pub validation: Option<PathBuf>,
    /// New, empty, or what an interrupted training of the same plan left.
    pub output: PathBuf,
    /// See [`models::EncoderConfig::resolution_px`].
    pub resolution_px: u32,
    /// Chooses the validation part, where it is split off.
    pub seed: u64,
    /// Of the pictures.
    pub licence: String,
}

/// A head that was trained, with everything that is said about it: the content of `head.json`.
#[derive(Debug, Clone, Serialize)]
pub struct Trained {
    /// Always `loupe.head-card/1`.
    pub schema: &'static str,
    /// Version of Loupe.
    pub app_version: &'static str,
    /// What it was made of.
    #[serde(flatten)]
    pub origin: Origin,
    /// Where the validation part comes from.
    pub validation_source: String,
    /// Of `head.safetensors`.
    pub head_sha256: String,
    /// Factor of the L2 penalty that was taken.
    pub strength: f64,
    /// Temperature that was taken.
    pub temperature: f64,
    /// Penalties that were tried.
    pub choices: Vec<Choice>,
    /// Losses under the one that was taken, from the start to the last step.
    pub curve: Vec<LossPoint>,
    /// On the validation part, by the fit to the training part alone. It chose penalty and temperature: a little too good; but the head
    /// was then fitted to both parts.
    pub validation: ClassMeasures,
    /// Pictures that were neither learned from nor measured on.
    pub left_out: Vec<LeftOut>,
    /// Pictures of a test part in the data, which were only compared with the others.
    pub n_test_unused: usize,
}

/// Learns a head as `plan` says and writes it with its numbers, its model card and two charts. `watch` is told how many of
/// how many pictures are encoded. A training that was interrupted goes on where it was; what was computed is never lost.
///
/// # Errors
/// See [`HeadError`]; a picture that cannot be read or whose file is there twice is named in [`Trained::left_out`] instead.
pub fn train(
    plan: &HeadPlan,
    encoder: &mut Encoder,
    watch: &mut dyn FnMut(usize, usize),
) -> Result<Trained, HeadError> {
    check_output(&plan.output, HEAD_FILE, JOURNAL)?;
    let gathered = Gathered::of(plan)?;
    fs::create_dir_all(&plan.output).map_err(HeadError::io(&plan.output))?;
    let mut describer = Describer::open(encoder, &plan.output.join(JOURNAL))?;
    let mut parts = gathered.parts;
    let described = describer.describe_all(&mut parts, watch)?;
    let descriptions = described.into_iter().map(|described: Described| described.values).collect();
    let learned = Learned::of(plan, &parts, &gathered.labels, &[descriptions])?;
    let origin = origin(plan, (&parts, gathered.scope), gathered.labels, describer.encoder_identity());
    let digests = parts.pictures.iter().map(|(picture, digest)| picture.origin(digest)).collect();
    let head = Head::new(&learned.fit, origin, digests)?;
    let validation = learned.measured(&head.origin().labels);
    let trained = Trained {
        schema: SCHEMA,
        app_version: env!("CARGO_PKG_VERSION"),
        origin: head.origin().clone(),
        validation_source: gathered.validation_source,
        head_sha256: String::new(),
        strength: head.strength(),
        temperature: head.temperature(),
        choices: learned.fit.choices().to_vec(),
        curve: learned.fit.curve().to_vec(),
        validation,
        left_out: parts.left_out,
        n_test_unused: gathered.n_test,
    };
    let trained = write(&plan.output, &head, trained)?;
    describer.close()?;
    Ok(trained)
}

/// The pictures of a plan, sorted out.
#[derive(Debug)]
pub(crate) struct Gathered {
    /// Of the training and the validation part.
    pub(crate) parts: Parts,
    /// The classes.
    pub(crate) labels: Vec<String>,
    /// What of a frame the pictures show.
    pub(crate) scope: Scope,
    pub(crate) validation_source: String,
    /// Pictures of the test part.
    pub(crate) n_test: usize,
}

impl Gathered {
    /// Reads the folders of `plan` and splits a validation part off where there is none.
    ///
    /// # Errors
    /// When they are no class folders, or hold too little to learn from.
    pub(crate) fn of(plan: &HeadPlan) -> Result<Self, HeadError> {
        let Listing { mut pictures, mut problems, scope } = plan.layout.read(&plan.data, None)?;
        if let Some(folder) = &plan.validation {
            pictures.retain(|picture| picture.part != Part::Validation);
            let others = plan.layout.read(folder, Some(scope))?;
            problems.extend(others.problems);
            // What is there to measure with is not learned from, wherever it lies.
            let others = others.pictures.into_iter().filter(|picture| picture.part != Part::Test);
            pictures.extend(others.map(|picture| Picture { part: Part::Validation, ..picture }));
        }
        let labels = classes(&pictures, Part::Train);
        if labels.len() < 2 {
            return Err(too_few_classes(plan, &labels, &Listing { pictures, problems, scope }));
        }
        let mut parts = Parts::of(pictures);
        parts.left_out.extend(problems.into_iter().map(|(_, problem)| problem));
        if let Some(label) = labels.iter().find(|label| parts.count_of(Part::Train, label) == 0) {
            let found = parts.left_out.iter().find(|left_out| is_of(&left_out.path, label)).map(LeftOut::message);
            let expected = format!("a picture of class {label} to learn from");
            return Err(HeadError::unfit(&plan.data, expected, found.unwrap_or_else(|| "none".to_owned())));
        }
        let validation_source = match &plan.validation {
            Some(folder) => folder.display().to_string(),
            None if parts.count(Part::Validation) > 0 => "the validation part of the data".to_owned(),
            None => {
                parts.split(&plan.data, plan.seed)?;
                let whole = if scope == Scope::Picture { "of each class" } else { "of the files of each class" };
                format!("a fifth {whole}, neighbours by name, from a place chosen by seed {}", plan.seed)
            }
        };
        let place = plan.validation.as_ref().unwrap_or(&plan.data);
        parts.check_classes(place, Part::Validation, &labels)?;
        let n_test = parts.count(Part::Test);
        parts.pictures.retain(|(picture, _)| picture.part != Part::Test);
        Ok(Self { parts, labels, scope, validation_source, n_test })
    }
}

impl Gathered {
    /// Returns the class of one of its pictures by its place among the labels.
    pub(crate) fn class_of(&self, picture: &Picture) -> usize {
        self.labels.iter().position(|label| *label == picture.class).unwrap_or_default()
    }

    /// Returns how many pictures of each class a part has.
    pub(crate) fn counts(&self, part: Part) -> Vec<usize> {
        counts(&self.parts, &self.labels, part)
    }
}

fn too_few_classes(plan: &HeadPlan, labels: &[String], listing: &Listing) -> HeadError {
    let found = if labels.is_empty() { "none".to_owned() } else { labels.join(", ") };
    let measures = listing.pictures.iter().any(|picture| picture.part == Part::Test);
    let hint = if measures && listing.scope == Scope::Picture {
        " (a test part is learned from with --layout mvtec)"
    } else {
        ""
    };
    let problem = listing.problems.first().map(|(_, problem)| format!("; the first problem: {}", problem.message()));
    let expected = format!("pictures of two classes or more to learn from{hint}");
    HeadError::unfit(&plan.data, expected, found + &problem.unwrap_or_default())
}

fn counts(parts: &Parts, labels: &[String], part: Part) -> Vec<usize> {
    labels.iter().map(|label| parts.count_of(part, label)).collect()
}

fn is_of(path: &Path, class: &str) -> bool {
    path.parent().and_then(Path::file_name).is_some_and(|folder| folder == class)
}

pub(super) fn origin(plan: &HeadPlan, (parts, scope): (&Parts, Scope), labels: Vec<String>, encoder: String) -> Origin {
    Origin {
        encoder,
        resolution_px: plan.resolution_px,
        scope,
        seed: plan.seed,
        data: plan.data.display().to_string(),
        licence: plan.licence.clone(),
        n_train: counts(parts, &labels, Part::Train),
        n_validation: counts(parts, &labels, Part::Validation),
        labels,
    }
}

/// A fit, with the classes of the pictures that chose it.
pub(crate) struct Learned {
    pub(crate) fit: Fit,
    /// Classes of the validation part.
    truths: Vec<usize>,
}

impl Learned {
    /// Fits to the pictures of `parts`. `views` hold a description of each, in their order: first as it is, which the validation part is judged
    /// by, then otherwise, if at all.
    ///
    /// # Errors
    /// When a class has no picture to learn from, there is none to choose by, or descriptions do not go together.
    pub(crate) fn of(
        plan: &HeadPlan,
        parts: &Parts,
        labels: &[String],
        views: &[Vec<Vec<f32>>],
    ) -> Result<Self, HeadError> {
        parts.check_readable(plan, labels)?;
        let (mut train, mut validation) = (Vec::new(), Vec::new());
        for (number, view) in views.iter().enumerate() {
            for ((picture, _), description) in parts.pictures.iter().zip(view) {
                let class = labels.iter().position(|label| *label == picture.class);
                match picture.part {
                    Part::Train => train.extend(class.map(|class| (description.clone(), class))),
                    _ if number == 0 => validation.extend(class.map(|class| (description.clone(), class))),
                    _ => {}
                }
            }
        }
        let (validation, truths) = examples(validation)?;
        let fit = fit(&examples(train)?.0, &validation, labels.len())?;
        Ok(Self { fit, truths })
    }

    /// Returns how well the validation part was named before the head was fitted to it as well.
    pub(crate) fn measured(&self, labels: &[String]) -> ClassMeasures {
        let unseen = self.truths.iter().zip(self.fit.unseen());
        let classified: Vec<Classified> =
            unseen.map(|(&truth, probabilities)| Classified { truth, probabilities: probabilities.clone() }).collect();
        ClassMeasures::of(labels, &[classified]).expect("the validation part is not empty")
    }
}

/// Returns the examples, and their classes once more.
fn examples(pictures: Vec<(Vec<f32>, usize)>) -> Result<(Examples, Vec<usize>), HeadError> {
    let (descriptions, labels): (Vec<Vec<f32>>, Vec<usize>) = pictures.into_iter().unzip();
    Ok((Examples::new(&descriptions, labels.clone())?, labels))
}

/// Writes everything, the head last: where it is, all is. Returns what is said about it, with its hash.
fn write(folder: &Path, head: &Head, mut trained: Trained) -> Result<Trained, HeadError> {
    let partial = folder.join("head.partial");
    head.save(&partial)?;
    trained.head_sha256 = sha256(fs::read(&partial).map_err(HeadError::io(&partial))?);
    let json = folder.join("head.json");
    let text = serde_json::to_string_pretty(&trained).map_err(|error| HeadError::io(&json)(error.into()))?;
    let files = [
        ("head.json", text),
        ("confusion.svg", rendered("confusion.svg", &ConfusionChart::of(&trained.validation.confusion))?),
        ("loss.svg", rendered("loss.svg", &LossChart::of(&trained.curve, By::Step))?),
        ("MODEL_CARD.md", rendered("MODEL_CARD.md", &Card::of(&trained))?),
    ];
    write_texts(folder, files)?;
    let path = folder.join(HEAD_FILE);
    fs::rename(&partial, &path).map_err(HeadError::io(&path))?;
    Ok(trained)
}

#[cfg(test)]
mod tests;
