//! `loupe train`: learn to name the user's own classes.

use std::{
    io,
    path::{Path, PathBuf},
};

use clap::{Args, ValueEnum};
use models::{
    ModelError,
    bundle::DEFAULT_BUNDLE,
    burn_engine::{BurnBackend, BurnDevice},
    domain::DOMAIN_FILE,
    ort_engine::SessionConfig,
    tuning::TuningOptions,
};

use super::{Outcome, options_for, print_json, print_line, print_next_of_domain, progress, warn_of_left_out};
use crate::{
    diagnosis::good_classes,
    head::{ClassLayout, ClassMeasures, DESCRIBED, HeadPlan, LeftOut, RESOLUTION_PX, Trained, train},
    kit::Kit,
    signals::SignalWatch,
    tuning::{Exam, Speech, SpeechPlan, Training, TuningPlan, Workshop, tune},
};

mod teller;

use teller::Teller;

/// Arguments of `loupe train`.
#[derive(Debug, Args)]
#[command(
    after_help = "The data are a folder for each class (DIR/good, DIR/scratch, ...) with two pictures or more in each, better twenty; or \
    folders DIR/train..., DIR/val... and DIR/test... of such folders, of which test parts are never learned from. Names of pictures \
    should tell their order: a fifth of each class is held out as a run of neighbours, because neighbours often show the same part. With \
    --layout coco or deeppcb each labelled box is a picture, shown with what is about it in a square of one size for all; beside them places \
    without a box are learned as good. What learns so names the places that a station's gate has found: inspect --station NAME --domain DIR.\n\n\
    Without --head-only the encoder itself is taught (minutes for a hundred pictures, an hour for a thousand on two cores) and a domain is \
    written, with which `inspect --domain DIR` and a station's [eyes] look. With --head-only the encoder stays as it is \
    and a head on it is fitted (seconds to minutes, from two pictures of a class on). The encoder is shown mirror images, too: classes that \
    differ by nothing else need --head-only. With --speak the language model then learns to look by these eyes: it answers on its own what a \
    picture shows, and a report in which it and the head differ goes to a person. That takes longer than teaching the encoder.\n\n\
    A run that was interrupted goes on where it was when it is started again. Then measure on pictures that it has not seen: \
    `loupe eval TEST --head HEAD --output out` or `loupe eval TEST --domain DIR --output out`, of labelled boxes with --layout, too."
)]
pub(super) struct TrainArgs {
    /// Folder of class folders; of pictures and labels with --layout coco or deeppcb
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// How the data are laid out
    #[arg(long, value_enum, default_value_t)]
    layout: ClassLayout,
    /// Folder to write to; new or empty
    #[arg(long, value_name = "DIR")]
    output: PathBuf,
    /// Train a classification head; the vision encoder stays as it is
    #[arg(long)]
    head_only: bool,
    /// Bundle whose encoder is trained
    #[arg(long, value_name = "NAME", default_value = DEFAULT_BUNDLE)]
    bundle: String,
    /// Others like the data that choose, before the head is fitted to them as well [default: a fifth of the data]
    #[arg(long, value_name = "DIR")]
    validation: Option<PathBuf>,
    /// Chooses what is held out, and the order and the views in which pictures are seen
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Side in pixels of what the encoder sees (a square of as many pixels): more finds smaller defects and takes longer
    #[arg(long, value_name = "PIXELS", default_value_t = RESOLUTION_PX)]
    resolution: u32,
    /// Licence of the pictures, for the model card
    #[arg(long, value_name = "TEXT", default_value = "not stated")]
    licence: String,
    /// Print what was learned as JSON to standard output, and nothing else
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    tuning: TuningArgs,
}

/// Arguments of a training that changes the encoder.
#[derive(Debug, Args)]
#[command(next_help_heading = "Teaching the encoder")]
struct TuningArgs {
    /// What all pictures show, as reports are to call it [default: the name of the folder of the data]
    #[arg(long, value_name = "TEXT", value_parser = clap::builder::NonEmptyStringValueParser::new(), conflicts_with = "head_only")]
    subject: Option<String>,
    /// Class in which nothing is the matter; may be given several times [default: good, ok, normal, healthy and the like]
    #[arg(long, value_name = "CLASS", conflicts_with = "head_only")]
    good: Vec<String>,
    /// Insist that there is a run to go on with
    #[arg(long, conflicts_with = "head_only")]
    resume: bool,
    /// What trains
    #[arg(long, value_enum, default_value_t, conflicts_with = "head_only")]
    device: TrainingDevice,
    /// Passes over the pictures, at most
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=1000), conflicts_with = "head_only")]
    epochs: u16,
    /// Passes without a better validation loss after which the eyes stop learning
    #[arg(long, value_name = "N", default_value_t = 6, value_parser = clap::value_parser!(u16).range(1..=1000), conflicts_with = "head_only")]
    patience: u16,
    /// Blocks of the encoder that stay as they are, of 16: more train faster and forget less
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u8).range(1..=11), conflicts_with = "head_only")]
    frozen_blocks: u8,
    /// Teach the language model to look by these eyes, too: it then names every picture on its own, and has to agree with the head
    #[arg(long, conflicts_with = "head_only")]
    speak: bool,
    /// Passes over the pictures in which the language model learns, at most; three without a better validation loss end it
    #[arg(long, value_name = "N", default_value_t = 6, value_parser = clap::value_parser!(u16).range(1..=1000), requires = "speak")]
    speech_epochs: u16,
}

/// What trains: `--device`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum TrainingDevice {
    #[value(help = "The processor")]
    #[default]
    Cpu,
    #[value(help = "The first GPU that is found, through CUDA or wgpu")]
    Gpu,
}

impl TrainingDevice {
    fn open(self) -> Result<BurnDevice, ModelError> {
        match self {
            Self::Cpu => BurnDevice::open(BurnBackend::Cpu),
            Self::Gpu => BurnDevice::gpu(),
        }
    }
}

impl TrainArgs {
    /// Learns the head or the domain and says how well it does.
    ///
    /// # Errors
    /// One line that names the file or folder, what was expected and what was found.
    pub(super) fn run(self) -> anyhow::Result<Outcome> {
        let Self { data, layout, output, head_only, bundle, validation, seed, resolution, licence, json, tuning } =
            self;
        let kit = Kit::new(&bundle, SessionConfig::default())?;
        let plan = HeadPlan { data, layout, validation, output, resolution_px: resolution, seed, licence };
        if head_only {
            let trained = train_head(&plan, kit)?;
            return if json { print_json(&trained) } else { explain(&trained, &plan.output) };
        }
        let plan = tuning.plan(plan, &kit)?;
        let training = teach(&plan, tuning.device, &kit)?;
        if json { print_json(&training) } else { explain_training(&training, &plan.pictures.output) }
    }
}

fn train_head(plan: &HeadPlan, mut kit: Kit) -> anyhow::Result<Trained> {
    let _signals = SignalWatch::farewell(vec![plan.output.join(DESCRIBED)])?;
    let bar = progress::bar(0, "encoding pictures");
    let trained = train(plan, kit.encoder(plan.resolution_px)?, &mut |done, total| {
        bar.set_length(total as u64);
        bar.set_position(done as u64);
        if done == total {
            bar.set_message("fitting the head");
        }
    });
    bar.finish_and_clear();
    let trained = trained?;
    warn_of_left_out(&trained.left_out)?;
    Ok(trained)
}

impl TuningArgs {
    fn plan(&self, pictures: HeadPlan, kit: &Kit) -> Result<TuningPlan, ModelError> {
        // `.` has no name of its own.
        let data = pictures.data.canonicalize().unwrap_or_else(|_| pictures.data.clone());
        let name = if data.is_file() { data.file_stem() } else { data.file_name() };
        let folder = name.unwrap_or(data.as_os_str()).to_string_lossy().replace('_', " ");
        let epochs = usize::from(self.speech_epochs);
        let speech = |language| SpeechPlan { epochs, language };
        Ok(TuningPlan {
            speech: self.speak.then(|| kit.language_file()).transpose()?.map(speech),
            subject: self.subject.clone().unwrap_or(folder),
            good_classes: if self.good.is_empty() { good_classes() } else { self.good.clone() },
            must_resume: self.resume,
            epochs: usize::from(self.epochs),
            patience: usize::from(self.patience),
            options: TuningOptions { frozen_blocks: usize::from(self.frozen_blocks), ..TuningOptions::default() },
            pictures,
        })
    }
}

fn teach(plan: &TuningPlan, device: TrainingDevice, kit: &Kit) -> anyhow::Result<Training> {
    let device = device.open()?;
    let (engine, published) = kit.encoder_source()?;
    let workshop = Workshop { engine: &engine, device: &device, published: &published };
    let _signals = SignalWatch::farewell(plan.checkpoints())?;
    let mut teller = Teller::new(plan);
    let training = tune(plan, workshop, &mut |progress| teller.tell(progress));
    drop(teller);
    let training = training?;
    warn_of_left_out(&training.left_out)?;
    Ok(training)
}

fn explain_training(training: &Training, output: &Path) -> anyhow::Result<Outcome> {
    let domain = output.join(DOMAIN_FILE);
    let n_train: usize = training.n_train.iter().sum();
    print_line(&format!(
        "{}: {} classes of {}, learned from {n_train} pictures in {} epochs, of which number {} was kept",
        domain.display(),
        training.labels.len(),
        training.subject,
        training.epochs.len() - 1,
        training.best_epoch
    ))?;
    explain_validation(&training.validation, &training.left_out)?;
    for line in training.speech.iter().flat_map(speech_lines) {
        print_line(&format!("  {line}"))?;
    }
    if training.good_labels.is_empty() {
        print_line("  no class is called good: it names, it does not judge (--good CLASS)")?;
    }
    print_next_of_domain(&domain, training.scope)?;
    Ok(Outcome::Done)
}

/// Returns what is said of a language model that has learned to look.
fn speech_lines(Speech { validation, best_epoch, epochs, .. }: &Speech) -> Vec<String> {
    let Exam { accuracy, blanked_accuracy } = validation;
    let last = epochs.len() - 1;
    let mut lines = vec![format!(
        "the language model names {accuracy:.3} of them rightly, {blanked_accuracy:.3} if all were grey (epoch {best_epoch} of {last})"
    )];
    if accuracy <= blanked_accuracy {
        let advice = "leave --speak out, or teach it with more pictures or --speech-epochs";
        lines.push(format!("the language model names no more than it does of a grey picture: {advice}"));
    }
    lines
}

fn explain_validation(validation: &ClassMeasures, left_out: &[LeftOut]) -> io::Result<()> {
    if !left_out.is_empty() {
        print_line(&format!("  {} more were left out", left_out.len()))?;
    }
    for line in validation.lines() {
        print_line(&format!("  {line}"))?;
    }
    print_line("  (on the pictures that chose, before the head was fitted to them as well)")
}

fn explain(trained: &Trained, output: &Path) -> anyhow::Result<Outcome> {
    let (origin, validation) = (&trained.origin, &trained.validation);
    let n_train: usize = origin.n_train.iter().sum();
    print_line(&format!(
        "{}: {} classes, learned from {n_train} pictures and, once they had chosen the penalty, from {} others ({})",
        output.display(),
        origin.labels.len(),
        validation.n_images,
        trained.validation_source
    ))?;
    explain_validation(validation, &trained.left_out)?;
    let (head, (labelled, gated)) = (output.display(), options_for(origin.scope));
    print_line(&format!(
        "next: loupe eval TEST{labelled} --head {head} --output out; loupe inspect{gated} --head {head} PICTURE"
    ))?;
    Ok(Outcome::Done)
}

#[cfg(test)]
mod tests {
    use models::{tuning::Score, visual_tuning::VisualTuningOptions};

    use super::*;
    use crate::tuning::Epoch;

    #[test]
    fn a_language_model_that_has_learned_nothing_is_called_so() {
        let validation = Score { loss: 0.5, accuracy: 0.0 };
        let lines = |accuracy, blanked_accuracy| {
            speech_lines(&Speech {
                language_sha256: "0".repeat(64),
                options: VisualTuningOptions::default(),
                epochs: vec![Epoch { epoch: 0, loss: 0.0, validation, seconds: 0.0 }],
                best_epoch: 0,
                seconds: 0.0,
                validation: Exam { accuracy, blanked_accuracy },
            })
        };
        assert_eq!(lines(0.9, 0.4).len(), 1);
        let warned = lines(0.4, 0.4);
        assert!(
            warned[1].starts_with("the language model names no more than it does of a grey picture: "),
            "{warned:?}"
        );
    }
}
