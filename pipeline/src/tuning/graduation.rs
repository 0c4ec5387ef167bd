//! From trained weights to a domain: what the eyes see, a head on it, and the score of what was never seen.

use cameras::{Frame, PixelFormat, Size};
use fastrand::Rng;
use image::RgbImage;
use models::{
    EncoderConfig, Eyes, Sight,
    domain::{DOMAIN_FILE, Domain, Lessons},
    head::LossPoint,
    ort_engine::SessionConfig,
    tuning::{Tuner, augmented, shrunk},
};

use super::{
    Progress, SCHEMA, Speech, Training, TuningPlan, Workshop,
    album::{Album, SOURCE, id, with_margin},
    card::Card,
    epochs::Run,
    is_good, named,
    speech::{self, Exam, Taught},
};
use crate::head::{
    By, ConfusionChart, Gathered, HeadError, Learned, LossChart, Part, Picture, in_picture, rendered, write_texts,
};

/// Augmented views of each picture that the head is fitted to beside the plain one, at least and at most.
const VIEWS: [usize; 2] = [2, 6];
/// As many pictures and views, with the plain ones, tell how strange a domain's own look.
const SCORED: usize = 112;
/// Fewer pictures have too few views for that.
pub(super) const LEAST_PICTURES: usize = SCORED / (VIEWS[1] + 1);

/// What is known when the eyes have learned.
pub(super) struct Graduation<'a> {
    pub(super) plan: &'a TuningPlan,
    pub(super) gathered: &'a Gathered,
    pub(super) album: &'a Album,
    pub(super) workshop: Workshop<'a>,
    /// See [`super::fingerprint`].
    pub(super) fingerprint: String,
}

impl Graduation<'_> {
    /// Writes the domain with its numbers, card and charts, the domain last: where it is, all is.
    pub(super) fn graduate(
        &self,
        (tuner, run): (&Tuner, Run),
        published_sha256: String,
        watch: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Training, HeadError> {
        let (plan, gathered) = (self.plan, self.gathered);
        let resolution_px = plan.pictures.resolution_px;
        let tuned = tuner.tuned()?;
        let mut eyes = tuned.eyes(self.workshop.engine, EncoderConfig { resolution_px, ..EncoderConfig::default() })?;
        let views = describe(&mut eyes, gathered, plan.pictures.seed, watch)?;
        watch(Progress::Fitting);
        let learned = Learned::of(&plan.pictures, &gathered.parts, &gathered.labels, &views)?;
        let taught = self.taught(&mut eyes, watch)?;
        let pictures = &gathered.parts.pictures;
        let classes: Vec<usize> = pictures.iter().map(|(picture, _)| gathered.class_of(picture)).collect();
        let lessons = Lessons {
            name: plan.subject.clone(),
            labels: named(plan, &gathered.labels),
            resolution_px,
            scope: gathered.scope,
            tuned,
            fit: &learned.fit,
            views: &views,
            classes: &classes,
            tongue: taught.as_ref().map(|taught| taught.tongue.clone()),
            learned_from: pictures.iter().map(|(picture, digest)| picture.origin(digest)).collect(),
        };
        let domain = Domain::learned(lessons)?;
        let speech = taught.map(|taught| self.examined(taught, &domain, watch)).transpose()?;
        let origin = (self.workshop.device.name(), published_sha256);
        let training = Training { speech, ..training(plan, gathered, (tuner, run), origin, (&domain, &learned)) };
        write(plan, &domain, &training)?;
        Ok(training)
    }

    /// Teaches the language model to look by `eyes`, where it is to.
    fn taught(&self, eyes: &mut Eyes, watch: &mut dyn FnMut(Progress<'_>)) -> Result<Option<Taught>, HeadError> {
        let Some(speech) = &self.plan.speech else { return Ok(None) };
        let labels = named(self.plan, &self.gathered.labels);
        speech::teach(self.plan, speech, (eyes, self.album, &labels), (self.workshop, &self.fingerprint), watch)
            .map(Some)
    }

    /// Asks the language model about the validation part.
    fn examined(
        &self,
        taught: Taught,
        domain: &Domain,
        watch: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Speech, HeadError> {
        let Workshop { engine, published, .. } = self.workshop;
        let mut eyes = domain.eyes(engine, published, SessionConfig::default())?;
        let language = taught.language.clone();
        let exam = Exam::of((domain, &mut eyes), (&language, &self.album.validation), watch)?;
        Ok(Speech::of(taught, exam))
    }
}

/// Returns what the eyes see of all pictures, by view: of each picture one description, first as it is.
fn describe(
    eyes: &mut Eyes,
    gathered: &Gathered,
    seed: u64,
    watch: &mut dyn FnMut(Progress<'_>),
) -> Result<Vec<Vec<Vec<f32>>>, HeadError> {
    let pictures = &gathered.parts.pictures;
    let count = (SCORED.div_ceil(pictures.len().max(1)) - 1).clamp(VIEWS[0], VIEWS[1]);
    let mut views = vec![Vec::new(); count + 1];
    let mut random = Rng::with_seed(seed);
    for (done, (picture, _)) in pictures.iter().enumerate() {
        let frame =
            picture.open(SOURCE).map_err(|error| HeadError::unfit(&picture.path, "a picture", error.to_string()))?;
        views[0].push(seen(eyes, &frame, picture)?.description);
        let Size { width_px, height_px } = eyes.input_size(frame.size());
        let plain = shrunk(&frame, with_margin([width_px, height_px]));
        for view in &mut views[1..] {
            let view_frame = frame_of(augmented(&plain, [width_px, height_px], &mut random), picture)?;
            view.push(seen(eyes, &view_frame, picture)?.description);
        }
        watch(Progress::Describing(done + 1, pictures.len()));
    }
    Ok(views)
}

fn seen(eyes: &mut Eyes, frame: &Frame, picture: &Picture) -> Result<Sight, HeadError> {
    eyes.see(frame).map_err(|error| in_picture(&error, &picture.path))
}

fn frame_of(view: RgbImage, picture: &Picture) -> Result<Frame, HeadError> {
    let size = Size::new(view.width(), view.height());
    let frame = Frame::new(id(), size, PixelFormat::Rgb8, view.into_raw());
    frame.map_err(|error| HeadError::unfit(&picture.path, "a picture", error.to_string()))
}

fn training(
    plan: &TuningPlan,
    gathered: &Gathered,
    (tuner, run): (&Tuner, Run),
    (device, published_sha256): (&str, String),
    (domain, learned): (&Domain, &Learned),
) -> Training {
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
        scope: gathered.scope,
        licence: plan.pictures.licence.clone(),
        validation_source: gathered.validation_source.clone(),
        n_train: gathered.counts(Part::Train),
        n_validation: gathered.counts(Part::Validation),
        resolution_px: plan.pictures.resolution_px,
        options: tuner.options(),
        best_epoch: run.best(),
        seconds: run.history.iter().map(|epoch| epoch.seconds).sum(),
        epochs: run.history,
        strength: learned.fit.strength(),
        temperature: learned.fit.temperature(),
        validation: learned.measured(&gathered.labels),
        speech: None,
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
        ("loss.svg", rendered("loss.svg", &LossChart::of(&curve, By::Epoch))?),
        ("MODEL_CARD.md", rendered("MODEL_CARD.md", &Card::of(training))?),
    ];
    write_texts(folder, files)?;
    Ok(domain.save(&folder.join(DOMAIN_FILE))?)
}
