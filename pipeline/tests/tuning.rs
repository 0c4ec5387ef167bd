//! Teaching the encoder what a user's classes look like, from folders of pictures to a domain that names them.

use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
};

use image::{Rgb, RgbImage, imageops};
use models::{
    Scope,
    bundle::{Bundle, DEFAULT_BUNDLE, Role},
    burn_engine::{BurnBackend, BurnDevice},
    cache::Cache,
    domain::{DOMAIN_FILE, Domain},
    ort_engine::{OrtEngine, SessionConfig},
    tuning::TuningOptions,
};
use pipeline::{
    head::{ClassLayout, HeadPlan},
    tuning::{Exam, Progress, SpeechPlan, Training, TuningPlan, Workshop, tune},
};
use serde_json::json;

/// What trains, where the cache has its files.
struct Tools {
    engine: OrtEngine,
    device: BurnDevice,
    published: PathBuf,
    language: PathBuf,
}

impl Tools {
    #[expect(clippy::print_stderr, reason = "a skipped test says why")]
    fn found() -> Option<Self> {
        let open = || {
            let (bundle, cache) = (Bundle::open(DEFAULT_BUNDLE)?, Cache::locate()?);
            let engine = OrtEngine::of(&bundle, &cache)?;
            let published = cache.require(&bundle, Role::EncoderWeights)?;
            let language = cache.require(&bundle, Role::LanguageModel)?;
            Ok::<_, models::ModelError>(Self {
                engine,
                device: BurnDevice::open(BurnBackend::Cpu)?,
                published,
                language,
            })
        };
        open().map_err(|error| eprintln!("skipped: {error}")).ok()
    }

    fn workshop(&self) -> Workshop<'_> {
        Workshop { engine: &self.engine, device: &self.device, published: &self.published }
    }
}

/// Returns a part with stripes, or with squares. A class must not be the mirror image of another.
fn part(class: usize, number: u32) -> RgbImage {
    RgbImage::from_fn(120, 80, |x, y| {
        let along = if class == 0 { x + y + number * 5 } else { x / 6 * 6 + y / 6 * 6 + number % 3 };
        let value = if (along / 6).is_multiple_of(2) { 60 + number as u8 * 3 } else { 180 - number as u8 * 2 };
        Rgb([value, value.wrapping_add(10), 90])
    })
}

/// Writes ten pictures of each of two classes, and one file that is none.
fn pictures(folder: &Path) {
    for (class, name) in ["good", "bent_pin"].into_iter().enumerate() {
        fs::create_dir_all(folder.join(name)).unwrap();
        for number in 0..10 {
            part(class, number).save(folder.join(name).join(format!("{number}.png"))).unwrap();
        }
    }
    fs::write(folder.join("good/5a.png"), "no picture").unwrap();
}

fn plan(data: &Path, output: &Path) -> TuningPlan {
    TuningPlan {
        pictures: HeadPlan {
            data: data.to_owned(),
            layout: ClassLayout::default(),
            validation: None,
            output: output.to_owned(),
            resolution_px: 96,
            seed: 3,
            licence: "made up".to_owned(),
        },
        subject: "comb".to_owned(),
        good_classes: vec!["good".to_owned()],
        must_resume: false,
        epochs: 2,
        patience: 2,
        options: TuningOptions { frozen_blocks: 11, ..TuningOptions::default() },
        speech: None,
    }
}

fn resumed(data: &Path, output: &Path) -> TuningPlan {
    TuningPlan { must_resume: true, ..plan(data, output) }
}

fn trained(tools: &Tools, plan: &TuningPlan) -> Result<Training, String> {
    tune(plan, tools.workshop(), &mut |_| {}).map_err(|error| error.to_string())
}

#[test]
fn a_domain_is_learned_written_and_names_what_it_has_not_seen() {
    let Some(tools) = Tools::found() else { return };
    let root = tempfile::tempdir().unwrap();
    let (data, output) = (root.path().join("combs"), root.path().join("out"));
    pictures(&data);
    let training = trained(&tools, &plan(&data, &output)).unwrap();
    assert_eq!((training.epochs.len(), training.labels.clone()), (3, vec!["bent_pin".to_owned(), "good".to_owned()]));
    assert_eq!((training.n_train.clone(), training.n_validation.clone()), (vec![8, 8], vec![2, 2]));
    assert_eq!((training.options.seed, training.options.steps), (3, 20));
    assert!(training.left_out[0].message().contains("5a.png"), "{:?}", training.left_out);
    assert_eq!(files(&output), ["MODEL_CARD.md", "confusion.svg", DOMAIN_FILE, "loss.svg", "training.json"]);

    let domain = Domain::open(&output.join(DOMAIN_FILE)).unwrap();
    assert_eq!(domain.sha256(), training.domain_sha256);
    assert_eq!(domain.labels()[0].text(), "comb: bent pin");
    assert!(domain.labels()[1].is_good() && !domain.labels()[0].is_good() && !domain.speaks());
    let mut eyes = domain.eyes(&tools.engine, &tools.published, SessionConfig::default()).unwrap();
    let mut judged = |picture: RgbImage| {
        let path = root.path().join("next.png");
        picture.save(&path).unwrap();
        let id = cameras::FrameId { source: "test".into(), seq: 0 };
        let sight = eyes.see(&cameras::decode_file(&path, id).unwrap()).unwrap();
        domain.judge(&sight).unwrap()
    };
    assert_eq!(judged(part(0, 11)).best(), 1);
    assert_eq!(judged(part(1, 11)).best(), 0);
    let noise =
        RgbImage::from_fn(120, 80, |x, y| Rgb([0, 1, 2].map(|c| ((x * 7919 + y * 104_729 + c * 31) % 251) as u8)));
    let stranger = judged(noise);
    assert!(stranger.familiarity < 0.02, "{stranger:?}");

    let misspelt = TuningPlan { good_classes: vec!["godo".to_owned()], ..plan(&data, &root.path().join("other")) };
    let error = trained(&tools, &misspelt).unwrap_err();
    assert!(error.contains("expected a class godo, which is called good, found bent_pin, good"), "{error}");
    let mut blind = plan(&data, &root.path().join("other"));
    blind.pictures.resolution_px = 0;
    let error = trained(&tools, &blind).unwrap_err();
    assert!(error.contains("64 to 2048") && !root.path().join("other").exists(), "{error}");

    let again = trained(&tools, &plan(&data, &output)).unwrap_err();
    assert!(again.contains("new or empty folder") && again.contains(DOMAIN_FILE), "{again}");
}

#[test]
fn an_interrupted_training_goes_on_and_comes_to_the_same() {
    let Some(tools) = Tools::found() else { return };
    let root = tempfile::tempdir().unwrap();
    let (data, output) = (root.path().join("combs"), root.path().join("out"));
    pictures(&data);
    let whole = trained(&tools, &plan(&data, &root.path().join("whole"))).unwrap();
    let error = trained(&tools, &resumed(&data, &output)).unwrap_err();
    assert!(error.contains("a run to go on with, found none"), "{error}");

    let mut stop = |progress: Progress<'_>| assert!(!matches!(progress, Progress::Epoch(_)), "the power went");
    let stopped = catch_unwind(AssertUnwindSafe(|| tune(&plan(&data, &output), tools.workshop(), &mut stop)));
    assert!(stopped.is_err() && output.join("last.safetensors").exists());
    let other = TuningPlan { epochs: 3, ..resumed(&data, &output) };
    let error = trained(&tools, &other).unwrap_err();
    let found = "a run with --epochs 3 (another needs another --output), found --epochs 2";
    assert!(error.contains("last.safetensors") && error.ends_with(found), "{error}");
    let mut others = [(); 3].map(|()| resumed(&data, &output));
    others[0].patience = 9;
    others[1].options.frozen_blocks = 10;
    others[2].pictures.seed = 4;
    let options =
        [("--patience 9", "--patience 2"), ("--frozen-blocks 10", "--frozen-blocks 11"), ("--seed 4", "--seed 3")];
    for (other, (asked, found)) in others.iter().zip(options) {
        let error = trained(&tools, other).unwrap_err();
        let found = format!("a run with {asked} (another needs another --output), found {found}");
        assert!(error.ends_with(&found), "{error}");
    }
    let damaged = root.path().join("damaged");
    fs::create_dir(&damaged).unwrap();
    fs::write(damaged.join("last.safetensors"), "cut short").unwrap();
    let error = trained(&tools, &resumed(&data, &damaged)).unwrap_err();
    assert!(error.contains("last.safetensors: expected a checkpoint (delete it to begin anew)"), "{error}");

    let resumed = trained(&tools, &resumed(&data, &output)).unwrap();
    let losses = |training: &Training| -> Vec<f64> { training.epochs.iter().map(|epoch| epoch.loss).collect() };
    let pairs: Vec<(f64, f64)> = losses(&whole).into_iter().zip(losses(&resumed)).collect();
    assert!(pairs.len() == 3 && pairs.iter().all(|(a, b)| (a - b).abs() < 1e-4), "{pairs:?}");
    assert!(!output.join("last.safetensors").exists());
}

/// Writes five pictures with a box of each of two kinds, and their labels as COCO.
fn labelled(folder: &Path) {
    fs::create_dir_all(folder).unwrap();
    let (mut images, mut annotations) = (Vec::new(), Vec::new());
    for number in 0..10_u32 {
        let (id, file_name) = (number + 1, format!("{number:02}.png"));
        let (x, y) = (20 + number * 13 % 120, 20 + number * 29 % 80);
        let mut picture = RgbImage::from_fn(200, 140, |x, y| Rgb([100 + ((x * 7 + y * 3 + number) % 11) as u8; 3]));
        let flaw = imageops::crop_imm(&part(number as usize % 2, number), 0, 0, 40, 30).to_image();
        imageops::replace(&mut picture, &flaw, x.into(), y.into());
        picture.save(folder.join(&file_name)).unwrap();
        images.push(json!({"id": id, "file_name": file_name, "width": 200, "height": 140}));
        annotations.push(json!({"id": id, "image_id": id, "category_id": number % 2 + 1, "bbox": [x, y, 40, 30]}));
    }
    let categories = json!([{"id": 1, "name": "comb"}, {"id": 2, "name": "grid"}]);
    let labels = json!({"images": images, "annotations": annotations, "categories": categories});
    fs::write(folder.join("labels.json"), labels.to_string()).unwrap();
}

#[test]
fn an_interrupted_training_by_places_goes_on_and_comes_to_the_same_eyes() {
    let Some(tools) = Tools::found() else { return };
    let root = tempfile::tempdir().unwrap();
    let (data, whole, output) = (root.path().join("boxes"), root.path().join("whole"), root.path().join("out"));
    labelled(&data);
    let by_places = |output: &Path, must_resume: bool| {
        let mut plan = TuningPlan { must_resume, ..plan(&data, output) };
        plan.pictures.layout = ClassLayout::Coco;
        plan
    };
    let expected = trained(&tools, &by_places(&whole, false)).unwrap();
    assert!(matches!(expected.scope, Scope::Places { .. }) && expected.labels == ["comb", "good", "grid"]);
    let mut stop = |progress: Progress<'_>| assert!(!matches!(progress, Progress::Epoch(_)), "the power went");
    let stopped = catch_unwind(AssertUnwindSafe(|| tune(&by_places(&output, false), tools.workshop(), &mut stop)));
    assert!(stopped.is_err() && output.join("last.safetensors").exists());
    let resumed = trained(&tools, &by_places(&output, true)).unwrap();
    assert_eq!((resumed.epochs.len(), resumed.best_epoch), (3, expected.best_epoch));
    let seen = |folder: &Path| {
        let domain = Domain::open(&folder.join(DOMAIN_FILE)).unwrap();
        let mut eyes = domain.eyes(&tools.engine, &tools.published, SessionConfig::default()).unwrap();
        let id = cameras::FrameId { source: "test".into(), seq: 0 };
        eyes.see(&cameras::decode_file(&data.join("03.png"), id).unwrap()).unwrap().description
    };
    let (expected, found) = (seen(&whole), seen(&output));
    let most = expected.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
    let apart = expected.iter().zip(&found).fold(0.0_f32, |apart, (a, b)| apart.max((a - b).abs()));
    assert!(apart < 1e-3 * most, "{apart} of {most}");
}

#[test]
fn the_language_model_learns_to_look_and_goes_on_after_an_interruption() {
    let Some(tools) = Tools::found() else { return };
    let root = tempfile::tempdir().unwrap();
    let (data, output) = (root.path().join("combs"), root.path().join("out"));
    pictures(&data);
    let speech = SpeechPlan { epochs: 1, language: tools.language.clone() };
    let plan = TuningPlan { epochs: 1, speech: Some(speech), ..plan(&data, &output) };
    let mut stop = |progress: Progress<'_>| assert!(!matches!(progress, Progress::Teaching(2.., ..)), "the power went");
    let stopped = catch_unwind(AssertUnwindSafe(|| tune(&plan, tools.workshop(), &mut stop)));
    assert!(stopped.is_err() && output.join("speech_last.safetensors").exists());

    let other = TuningPlan { subject: "rake".to_owned(), must_resume: true, ..plan.clone() };
    let error = trained(&tools, &other).unwrap_err();
    assert!(error.contains("speech_last.safetensors") && error.contains("teach the language model anew"), "{error}");
    let mut wide = plan.clone();
    (wide.pictures.resolution_px, wide.pictures.output) = (768, root.path().join("wide"));
    let error = trained(&tools, &wide).unwrap_err();
    assert!(error.contains("512 tokens at most (fewer pixels make fewer)"), "{error}");

    let (mut seen, mut taught) = (0, 0);
    let mut count = |progress: Progress<'_>| match progress {
        Progress::Training(..) => seen += 1,
        Progress::Teaching(..) => taught += 1,
        _ => {}
    };
    let training = tune(&TuningPlan { must_resume: true, ..plan }, tools.workshop(), &mut count).unwrap();
    assert_eq!((seen, taught), (0, 20), "the eyes had learned already");
    let speech = training.speech.unwrap();
    assert_eq!((speech.epochs.len(), speech.options.steps, speech.best_epoch), (2, 20, 1));
    let losses = [0, 1].map(|epoch: usize| speech.epochs[epoch].validation.loss);
    assert!(losses[1] < losses[0], "{losses:?}");
    let Exam { accuracy, blanked_accuracy } = speech.validation;
    assert!((0.0..=1.0).contains(&accuracy) && blanked_accuracy <= 1.0, "{accuracy} {blanked_accuracy}");
    assert!(files(&output).iter().all(|name| !name.starts_with("speech")), "{:?}", files(&output));
    let domain = Domain::open(&output.join(DOMAIN_FILE)).unwrap();
    assert!(domain.speaks() && domain.sha256() == training.domain_sha256);
}

/// Returns the names of the files in a folder, in order.
fn files(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}
