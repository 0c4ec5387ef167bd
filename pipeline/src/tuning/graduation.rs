//! From trained weights to a domain: what the eyes see, a head on it, and the score of what was never seen.

use std::fs;

use cameras::{Frame, PixelFormat, Size, decode_file};
use fastrand::Rng;
use image::RgbImage;
use models::{
    EncoderConfig, Eyes, Sight,
    domain::{Domain, Label, Lessons},
    head::{Examples, Fit, LossPoint, fit},
    tuning::{Tuner, augmented, shrunk},
};

use super::{
    DOMAIN_FILE, Progress, SCHEMA, Training, TuningPlan, Workshop, album::id, card::Card, epochs::Run, finding,
    in_picture, is_good,
};
use crate::head::{ClassMeasures, Classified, ConfusionChart, Gathered, HeadError, LossChart, Part, Picture, rendered};

/// Augmented views of each picture that the head is fitted to beside the plain one, at least and at most.
const VIEWS: [usize; 2] = [2, 6];
/// As many pictures and views, with the plain ones, tell how strange a domain's own look.
const SCORED: usize = 112;
/// Fewer pictures have too few views for that.
pub(super) const LEAST_PICTURES: usize = SCORED / (VIEWS[1] + 1);

/// What the eyes see of all pictures, and who they are.
struct Described {
    /// By view, plain first: of each picture one description.
    views: Vec<Vec<Vec<f32>>>,
    labels: Vec<usize>,
    is_validation: Vec<bool>,
}

/// Writes the domain with its numbers, card and charts, the domain last: where it is, all is.
pub(super) fn graduate(
    plan: &TuningPlan,
    gathered: &Gathered,
    (tuner, run): (&Tuner, Run),
    (workshop, published_sha256): (Workshop<'_>, String),
    watch: &mut dyn FnMut(Progress<'_>),
) -> Result<Training, HeadError> {
    let tuned = tuner.tuned()?;
    let resolution_px = plan.pictures.resolution_px;
    let mut eyes = tuned.eyes(workshop.engine, EncoderConfig { resolution_px, ..EncoderConfig::default() })?;
    let described = describe(&mut eyes, gathered, plan.pictures.seed, watch)?;
    watch(Progress::Fitting);
    let (fit, validation) = fitted(&described, &gathered.labels)?;
    let labels = gathered.labels.iter().map(|class| label(plan, class)).collect();
    let lessons = Lessons {
        name: plan.subject.clone(),
        labels,
        resolution_px,
        tuned,
        fit: &fit,
        views: &described.views,
        classes: &described.labels,
        learned_from: gathered.parts.pictures.iter().map(|(_, digest)| *digest).collect(),
    };
    let domain = Domain::learned(lessons)?;
    let origin = (workshop.device.name(), published_sha256);
    let training = training(plan, gathered, (tuner, run), origin, (&domain, &fit, validation));
    write(plan, &domain, &training)?;
    Ok(training)
}

fn label(plan: &TuningPlan, class: &str) -> Label {
    // Whoever gets the domain has no use for the place where the pictures lay.
    let data = plan.pictures.data.file_name().unwrap_or_default().to_string_lossy();
    Label {
        id: class.to_owned(),
        task: data.into_owned(),
        subject: plan.subject.clone(),
        finding: finding(plan, class),
        knowledge: None,
    }
}

fn describe(
    eyes: &mut Eyes,
    gathered: &Gathered,
    seed: u64,
    watch: &mut dyn FnMut(Progress<'_>),
) -> Result<Described, HeadError> {
    let pictures = &gathered.parts.pictures;
    let views = (SCORED.div_ceil(pictures.len().max(1)) - 1).clamp(VIEWS[0], VIEWS[1]);
    let (labels, is_validation) = pictures
        .iter()
        .map(|(picture, _)| (gathered.labels.iter().position(|label| *label == picture.class), picture.part))
        .map(|(label, part)| (label.unwrap_or_default(), part != Part::Train))
        .unzip();
    let mut described = Described { views: vec![Vec::new(); views + 1], labels, is_validation };
    let mut random = Rng::with_seed(seed);
    for (done, (picture, _)) in pictures.iter().enumerate() {
        let frame = decode_file(&picture.path, id())
            .map_err(|error| HeadError::unfit(&picture.path, "a picture", error.to_string()))?;
        described.views[0].push(seen(eyes, &frame, picture)?.description);
        let Size { width_px, height_px } = eyes.input_size(frame.size());
        let plain = shrunk(&frame, [width_px, height_px].map(|side| side * 8 / 7));
        for view in &mut described.views[1..] {
            let view_frame = frame_of(augmented(&plain, [width_px, height_px], &mut random), picture)?;
            view.push(seen(eyes, &view_frame, picture)?.description);
        }
        watch(Progress::Describing(done + 1, pictures.len()));
    }
    Ok(described)
}

fn seen(eyes: &mut Eyes, frame: &Frame, picture: &Picture) -> Result<Sight, HeadError> {
    eyes.see(frame).map_err(|error| in_picture(&error, &picture.path))
}

fn frame_of(view: RgbImage, picture: &Picture) -> Result<Frame, HeadError> {
    let size = Size::new(view.width(), view.height());
    let frame = Frame::new(id(), size, PixelFormat::Rgb8, view.into_raw());
    frame.map_err(|error| HeadError::unfit(&picture.path, "a picture", error.to_string()))
}

/// Returns the head of all pictures, and how well a fit to the training part alone names the validation part.
fn fitted(described: &Described, labels: &[String]) -> Result<(Fit, ClassMeasures), HeadError> {
    let chosen = |views: &[Vec<Vec<f32>>], wanted: bool| {
        let rows = views.iter().flat_map(|view| view.iter().zip(&described.labels).zip(&described.is_validation));
        let rows = rows.filter(|(_, is_validation)| **is_validation == wanted);
        let (rows, classes): (Vec<Vec<f32>>, Vec<usize>) = rows.map(|((row, class), _)| (row.clone(), *class)).unzip();
        Examples::new(&rows, classes)
    };
    let (train, validation) = (chosen(&described.views, false)?, chosen(&described.views[..1], true)?);
    let fit = fit(&train, &validation, labels.len())?;
    let truths = described.labels.iter().zip(&described.is_validation).filter(|(_, is)| **is).map(|(truth, _)| *truth);
    let classified: Vec<Classified> = truths
        .zip(fit.unseen())
        .map(|(truth, probabilities)| Classified { truth, probabilities: probabilities.clone() })
        .collect();
    let measures = ClassMeasures::of(labels, &[classified]).expect("the validation part is not empty");
    Ok((fit, measures))
}

fn training(
    plan: &TuningPlan,
    gathered: &Gathered,
    (tuner, run): (&Tuner, Run),
    (device, published_sha256): (&str, String),
    (domain, fit, validation): (&Domain, &Fit, ClassMeasures),
) -> Training {
    let counts = |part| gathered.labels.iter().map(|label| gathered.parts.count_of(part, label)).collect();
    Training {
        schema: SCHEMA,
        app_version: env!("CARGO_PKG_VERSION"),
        domain_sha256: domain.sha256().to_owned(),
        published_sha256,
        device: device.to_owned(),
        subject: plan.subject.clone(),
        good_labels: gathered.labels.iter().filter(|class| is_good(plan, class)).cloned().collect(),
        labels: gathered.labels.clone(),
        data: plan.pictures.data.display().to_string(),
        licence: plan.pictures.licence.clone(),
        validation_source: gathered.validation_source.clone(),
        n_train: counts(Part::Train),
        n_validation: counts(Part::Validation),
        resolution_px: plan.pictures.resolution_px,
        options: tuner.options(),
        best_epoch: run.best(),
        seconds: run.history.iter().map(|epoch| epoch.seconds).sum(),
        epochs: run.history,
        strength: fit.strength(),
        temperature: fit.temperature(),
        validation,
        left_out: gathered.parts.left_out.clone(),
        n_test_unused: gathered.n_test,
    }
}

fn write(plan: &TuningPlan, domain: &Domain, training: &Training) -> Result<(), HeadError> {
    let folder = &plan.pictures.output;
    let json = folder.join("training.json");
    let text = serde_json::to_string_pretty(training).map_err(|error| HeadError::io(&json)(error.into()))?;
    let curve: Vec<LossPoint> = training.epochs[1..]
        .iter()
        .map(|epoch| LossPoint { train: epoch.loss, validation: epoch.validation.loss })
        .collect();
    let files = [
        ("training.json", text),
        ("confusion.svg", rendered("confusion.svg", &ConfusionChart::of(&training.validation.confusion))?),
        ("loss.svg", rendered("loss.svg", &LossChart::of(&curve))?),
        ("MODEL_CARD.md", rendered("MODEL_CARD.md", &Card::of(training))?),
    ];
    for (name, text) in files {
        let path = folder.join(name);
        fs::write(&path, format!("{}\n", text.trim_end())).map_err(HeadError::io(&path))?;
    }
    Ok(domain.save(&folder.join(DOMAIN_FILE))?)
}
