use std::{
    fs,
    path::{Path, PathBuf},
};

use models::{Encoder, Scope, head::Head};

use super::{
    ClassLayout, HeadError, HeadEvaluation, HeadPlan, Part, Parts, Picture,
    evaluation::Measured,
    features::{Described, Describer, JOURNAL},
    folders::read,
    head_evaluation::{Round, Subject},
    parts::classes,
    training::{Learned, origin},
};

/// Heads of few pictures each, and where their measures go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FewShotPlan {
    /// Folders `train...` and `test...` (or `val...`) of class folders.
    pub data: PathBuf,
    /// Folder to write to.
    pub output: PathBuf,
    /// Pictures of each class that a head learns from, 2 or more; a fifth of them choose penalty and temperature first.
    pub shots: usize,
    /// How many heads, with seeds from 1 on, at least 1.
    pub seeds: u64,
    /// See [`models::EncoderConfig::resolution_px`].
    pub resolution_px: u32,
}

/// Fits heads to few pictures of the training part, drawn by seed, measures each on the strictest other part, and writes the files of
/// [`super::evaluate`] with means and spread over the seeds. Every picture is encoded once; what was interrupted goes on where it was.
///
/// # Errors
/// See [`HeadError`]; a picture that cannot be read is named in [`super::Evaluation::left_out`] instead.
///
/// # Panics
/// Never: there is one seed at least.
pub fn evaluate_few_shot(
    plan: &FewShotPlan,
    encoder: &mut Encoder,
    watch: &mut dyn FnMut(usize, usize),
) -> Result<HeadEvaluation, HeadError> {
    fs::create_dir_all(&plan.output).map_err(HeadError::io(&plan.output))?;
    let (part, labels, mut parts) = gathered(&plan.data)?;
    if let Some(label) = labels.iter().find(|label| parts.count_of(Part::Train, label) < plan.shots) {
        let expected = format!("{} pictures or more of class {label} to draw from", plan.shots);
        return Err(HeadError::unfit(&plan.data, expected, parts.count_of(Part::Train, label).to_string()));
    }
    let mut describer = Describer::open(encoder, &plan.output.join(JOURNAL))?;
    let described = describer.describe_all(&mut parts, watch)?;
    let all: Vec<Example> = parts.pictures.into_iter().zip(described).collect();
    let (train, measured): (Vec<Example>, Vec<Example>) =
        all.into_iter().partition(|((picture, _), _)| picture.part == Part::Train);
    let (pictures, described): (Vec<_>, Vec<_>) = measured.into_iter().unzip();
    let (mut rounds, mut first) = (Vec::new(), None);
    for seed in 1..=plan.seeds.max(1) {
        let drawn = draw(plan, (&labels, &train), seed)?;
        let head = fitted(plan, seed, drawn, (&labels, describer.encoder_identity()))?;
        rounds.push(Round::of(Some(seed), &head, &pictures, &described)?);
        first.get_or_insert(head);
    }
    let subject = Subject {
        head: format!("{} heads of {} pictures of each class", rounds.len(), plan.shots),
        shots: Some(plan.shots),
        origin: first.expect("there is one seed at least").origin().clone(),
    };
    let measured = Measured { dataset: &plan.data, part, left_out: parts.left_out };
    let evaluation = HeadEvaluation::written(&plan.output, measured, subject, &rounds)?;
    describer.close()?;
    Ok(evaluation)
}

/// A picture with the SHA-256 of its file and its description.
type Example = ((Picture, [u8; 32]), Described);

/// The pictures to draw from and those of the strictest part, with the classes of the former.
fn gathered(data: &Path) -> Result<(Part, Vec<String>, Parts), HeadError> {
    let mut pictures = read(data)?;
    let part = pictures.iter().map(|picture| picture.part).max().unwrap_or(Part::Train);
    pictures.retain(|picture| [Part::Train, part].contains(&picture.part));
    let labels = classes(&pictures, Part::Train);
    if part == Part::Train || labels.len() < 2 {
        let expected = "folders train and test (or val) with class folders of two classes or more";
        let found =
            if part == Part::Train { "no other part".to_owned() } else { format!("{} to learn from", labels.len()) };
        return Err(HeadError::unfit(data, expected, found));
    }
    let parts = Parts::of(pictures);
    parts.check_classes(data, part, &labels)?;
    Ok((part, labels, parts))
}

/// As many examples of each class as asked for, in their order.
fn draw(plan: &FewShotPlan, (labels, train): (&[String], &[Example]), seed: u64) -> Result<Vec<Example>, HeadError> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut drawn = Vec::new();
    for label in labels {
        let mut of_class: Vec<usize> = (0..train.len()).filter(|&i| train[i].0.0.class == *label).collect();
        if of_class.len() < plan.shots {
            let expected = format!("{} pictures or more of class {label} to draw from", plan.shots);
            return Err(HeadError::unfit(&plan.data, expected, of_class.len().to_string()));
        }
        random.shuffle(&mut of_class);
        of_class.truncate(plan.shots);
        of_class.sort_unstable();
        drawn.extend(of_class.into_iter().map(|i| train[i].clone()));
    }
    Ok(drawn)
}

fn fitted(
    plan: &FewShotPlan,
    seed: u64,
    drawn: Vec<Example>,
    (labels, encoder): (&[String], String),
) -> Result<Head, HeadError> {
    let (pictures, described): (Vec<_>, Vec<_>) = drawn.into_iter().unzip();
    let mut parts = Parts { pictures, left_out: Vec::new() };
    parts.split(&plan.data, seed)?;
    let head_plan = HeadPlan {
        data: plan.data.clone(),
        layout: ClassLayout::default(),
        validation: None,
        output: plan.output.clone(),
        resolution_px: plan.resolution_px,
        seed,
        licence: String::new(),
    };
    let values = described.into_iter().map(|described: Described| described.values).collect();
    let learned = Learned::of(&head_plan, &parts, labels, &[values])?;
    let digests = parts.pictures.iter().map(|(_, digest)| *digest).collect();
    Ok(Head::new(&learned.fit, origin(&head_plan, (&parts, Scope::Picture), labels.to_vec(), encoder), digests)?)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn examples(counts: &[(&str, usize)]) -> Vec<Example> {
        let example = |class: &str, index: usize| {
            let picture = Picture {
                path: format!("{class}/{index:02}.png").into(),
                place: None,
                class: class.to_owned(),
                part: Part::Train,
            };
            let described = Described { values: vec![index as f32], latency: Duration::ZERO };
            ((picture, [index as u8; 32]), described)
        };
        counts.iter().flat_map(|&(class, count)| (0..count).map(move |index| example(class, index))).collect()
    }

    fn plan(shots: usize) -> FewShotPlan {
        FewShotPlan { data: "data".into(), output: PathBuf::new(), shots, seeds: 3, resolution_px: 224 }
    }

    #[test]
    fn as_many_of_each_class_are_drawn_by_seed() {
        let (labels, train) = (["a".to_owned(), "b".to_owned()], examples(&[("a", 30), ("b", 12)]));
        let drawn = |seed| draw(&plan(10), (&labels, &train), seed).unwrap();
        let first = drawn(1);
        let of_class = |class: &str| first.iter().filter(|((picture, _), _)| picture.class == class).count();
        assert_eq!((of_class("a"), of_class("b")), (10, 10));
        assert_eq!(drawn(1), first);
        assert_ne!(drawn(2), first);
        assert!(first[..10].windows(2).all(|pair| pair[0].0.0.path < pair[1].0.0.path));
    }

    #[test]
    fn a_class_with_too_few_pictures_is_named() {
        let (labels, train) = (["a".to_owned(), "b".to_owned()], examples(&[("a", 30), ("b", 12)]));
        let error = draw(&plan(13), (&labels, &train), 1).unwrap_err().to_string();
        assert_eq!(error, "data: expected 13 pictures or more of class b to draw from, found 12");
    }

    #[test]
    fn without_a_part_to_measure_on_there_is_nothing_to_do() {
        let root = tempfile::tempdir().unwrap();
        for class in ["a", "b"] {
            fs::create_dir_all(root.path().join("train").join(class)).unwrap();
            fs::write(root.path().join("train").join(class).join("0.png"), class).unwrap();
        }
        let error = gathered(root.path()).unwrap_err().to_string();
        assert!(error.ends_with("with class folders of two classes or more, found no other part"), "{error}");
    }
}
