//! `loupe models quantize` of a domain: its eyes and its connector in 8 bits, with a card that says what that loses.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Instant,
};

use anyhow::ensure;
use askama::Template;
use cameras::Frame;
use indicatif::HumanBytes;
use models::{
    Eyes, Scope, Sight,
    bundle::DEFAULT_BUNDLE,
    domain::{Domain, Opinion, Quantizer},
    ort_engine::SessionConfig,
};
use serde::Serialize;
use tracing::warn;

use super::{QuantizeArgs, calibrate, cosine, millis};
use crate::{
    cli::{Outcome, print_json, print_line, print_next_of_domain, progress},
    eval::metrics::quantile,
    evidence::write_atomically,
    kit::Kit,
    policy::Policy,
};

/// Pictures to look at: ranges hardly grow after these, and each takes some hundredths of a second.
const PICTURES_MAX: usize = 64;
/// How often each of the eyes looks at a picture; the fastest time counts, others may have waited for something else.
const LOOKS: usize = 3;

/// What `--json` prints and the card says; the names are part of the interface.
#[derive(Debug, Serialize)]
struct Comparison {
    domain: String,
    /// Whether the language model looks through these eyes, too.
    speaks: bool,
    /// What of a frame its eyes look at.
    scope: Scope,
    /// Whether the original sees by the published weights, which the copy holds itself.
    was_published: bool,
    precision: &'static str,
    sha256: String,
    sha256_before: String,
    bytes_before: u64,
    bytes_after: u64,
    /// Those that ranges were found on.
    calibration_pictures: usize,
    /// Those that both were compared on.
    pictures: usize,
    /// Whether ranges were found on the same pictures.
    seen_before: bool,
    /// Of descriptions.
    cosine_min: f64,
    cosine_median: f64,
    same_label: usize,
    /// Pictures that are called familiar by both or by none.
    same_familiar: usize,
    /// Greatest change of the probability of a label, the middle one of all pictures.
    probability_change_median: f64,
    /// Of one picture, its scaling included: the middle one.
    before_ms: f64,
    after_ms: f64,
    time_ratio: f64,
}

/// The text of the card.
#[derive(Template)]
#[template(path = "quantized_card.md")]
struct Card<'a> {
    comparison: &'a Comparison,
    file: String,
    version: &'a str,
    before_mb: String,
    after_mb: String,
}

/// Writes the domain in 8 bits and its card, and prints how it differs from the original.
///
/// # Errors
/// When a model file or the pictures are missing, the domain is in 8 bits already, or a file is there already or cannot be written.
pub(super) fn run(args: &QuantizeArgs) -> anyhow::Result<Outcome> {
    let card = args.output.with_extension("md");
    ensure!(!args.calibrate.is_empty(), "--calibrate: expected pictures like those of the line, found none");
    ensure!(card != args.output, "{}: expected another name than the card's, found the same", card.display());
    for path in [&args.output, &card] {
        ensure!(!path.exists(), "{}: expected a file that does not exist yet, found one that does", path.display());
    }
    let kit = Kit::new(DEFAULT_BUNDLE, SessionConfig::default())?;
    let (engine, published) = kit.encoder_source()?;
    let name = args.model.to_string_lossy();
    let mut quantizer = Quantizer::open(&name, &engine, &published, SessionConfig::default())?;
    let seen = survey(&mut quantizer, &args.calibrate)?;
    let bytes = quantizer.file()?;
    let copy = Domain::from_bytes(&bytes, &args.output)?;
    let before = quantizer.domain();
    let mut pair = Pair { domains: [before, &copy], eyes: [kit.domain_eyes(before)?, kit.domain_eyes(&copy)?] };
    let shown = if args.images.is_empty() { &seen } else { &args.images };
    let differences = pair.differences(shown)?;
    let sizes = [quantizer.file_len() as u64, bytes.len() as u64];
    let comparison = comparison([before, &copy], sizes, (seen.len(), args.images.is_empty()), &differences);
    write(args, &card, &bytes, &comparison)?;
    if args.json { print_json(&comparison) } else { print(&args.output, &card, &comparison) }
}

/// Shows the quantizer up to [`PICTURES_MAX`] of the pictures and returns those that can be read.
fn survey(quantizer: &mut Quantizer, paths: &[PathBuf]) -> anyhow::Result<Vec<PathBuf>> {
    let chosen = calibrate::evenly(calibrate::listed(paths)?, PICTURES_MAX);
    let bar = progress::bar(chosen.len() as u64, "finding ranges");
    let mut seen = Vec::new();
    for path in chosen {
        match calibrate::read(&path) {
            Ok(picture) => {
                quantizer.see(&picture)?;
                seen.push(path);
            }
            Err(error) => warn!("left out: {error:#}"),
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    ensure!(!seen.is_empty(), "pictures for calibration: expected one that can be read at least, found none");
    Ok(seen)
}

/// A domain and its copy, and the eyes of both.
struct Pair<'a> {
    domains: [&'a Domain; 2],
    eyes: [Eyes; 2],
}

/// How both differ on one picture.
struct Difference {
    cosine: f64,
    opinions: [Opinion; 2],
    millis: [f64; 2],
}

impl Pair<'_> {
    fn differences(&mut self, pictures: &[PathBuf]) -> anyhow::Result<Vec<Difference>> {
        let bar = progress::bar(pictures.len() as u64, "comparing");
        let mut differences = Vec::new();
        for path in pictures {
            differences.push(self.difference(&calibrate::read(path)?)?);
            bar.inc(1);
        }
        bar.finish_and_clear();
        Ok(differences)
    }

    fn difference(&mut self, picture: &Frame) -> anyhow::Result<Difference> {
        let [before, after] = &mut self.eyes;
        let [mut old, mut new] = [look(before, picture)?, look(after, picture)?];
        // By turns, so that a slow moment of the machine slows both.
        for _ in 1..LOOKS {
            old.1 = old.1.min(look(before, picture)?.1);
            new.1 = new.1.min(look(after, picture)?.1);
        }
        let opinions = [self.domains[0].judge(&old.0)?, self.domains[1].judge(&new.0)?];
        Ok(Difference { cosine: cosine(&old.0.description, &new.0.description), opinions, millis: [old.1, new.1] })
    }
}

/// Returns what is seen and the milliseconds that it took.
fn look(eyes: &mut Eyes, picture: &Frame) -> anyhow::Result<(Sight, f64)> {
    let started = Instant::now();
    let sight = eyes.see(picture)?;
    Ok((sight, millis(started.elapsed())))
}

fn comparison(
    [before, after]: [&Domain; 2],
    [bytes_before, bytes_after]: [u64; 2],
    (calibration_pictures, seen_before): (usize, bool),
    differences: &[Difference],
) -> Comparison {
    let middle = |of: &dyn Fn(&Difference) -> f64| {
        let mut values: Vec<f64> = differences.iter().map(of).collect();
        values.sort_unstable_by(f64::total_cmp);
        quantile(&values, 0.5).unwrap_or(f64::NAN)
    };
    let count = |is_same: &dyn Fn(&[Opinion; 2]) -> bool| differences.iter().filter(|d| is_same(&d.opinions)).count();
    let familiar_from = Policy::default().familiar_from;
    let is_familiar = |opinion: &Opinion| opinion.familiarity >= familiar_from;
    let change = |[old, new]: &[Opinion; 2]| {
        let pairs = old.probabilities.iter().zip(&new.probabilities);
        pairs.map(|(old, new)| (old - new).abs()).fold(0.0, f64::max)
    };
    let [before_ms, after_ms] = [0, 1].map(|at| middle(&|difference| difference.millis[at]));
    Comparison {
        domain: after.name().to_owned(),
        speaks: after.speaks(),
        scope: after.scope(),
        was_published: before.sees_by_published_weights(),
        precision: after.precision().name(),
        sha256: after.sha256().to_owned(),
        sha256_before: before.sha256().to_owned(),
        bytes_before,
        bytes_after,
        calibration_pictures,
        pictures: differences.len(),
        seen_before,
        cosine_min: differences.iter().map(|difference| difference.cosine).fold(1.0, f64::min),
        cosine_median: middle(&|difference| difference.cosine),
        same_label: count(&|[old, new]| old.best() == new.best()),
        same_familiar: count(&|[old, new]| is_familiar(old) == is_familiar(new)),
        probability_change_median: middle(&|difference| change(&difference.opinions)),
        before_ms,
        after_ms,
        time_ratio: after_ms / before_ms,
    }
}

/// Writes the file and its card, or neither.
fn write(args: &QuantizeArgs, card: &Path, bytes: &[u8], comparison: &Comparison) -> anyhow::Result<()> {
    let megabytes = |bytes: u64| format!("{:.1}", bytes as f64 / 1e6);
    let text = Card {
        comparison,
        file: args.output.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        version: env!("CARGO_PKG_VERSION"),
        before_mb: megabytes(comparison.bytes_before),
        after_mb: megabytes(comparison.bytes_after),
    };
    let text = text.render()?;
    write_atomically(&args.output, bytes)?;
    write_atomically(card, text.as_bytes()).inspect_err(|_| {
        // The card's error is the one to report.
        fs::remove_file(&args.output).ok();
    })?;
    Ok(())
}

fn print(output: &Path, card: &Path, comparison: &Comparison) -> anyhow::Result<Outcome> {
    let Comparison { bytes_before, bytes_after, pictures, cosine_min, cosine_median, .. } = *comparison;
    let (old, new) = (HumanBytes(bytes_before), HumanBytes(bytes_after));
    let rounded = if comparison.speaks { "eyes and connector" } else { "eyes" };
    print_line(&format!("{}: {old} -> {new}, {rounded} in 8 bits", output.display()))?;
    if comparison.was_published {
        print_line("  it holds its eyes now, which the original takes from the published encoder")?;
    }
    let Comparison { same_label, same_familiar, before_ms, after_ms, time_ratio, .. } = *comparison;
    let which = if comparison.seen_before { "pictures, those that gave the ranges" } else { "pictures" };
    print_line(&format!("  on {pictures} {which}, against 32-bit floats:"))?;
    print_line(&format!("  cosine of descriptions {cosine_median:.5} in the middle, {cosine_min:.5} at worst"))?;
    print_line(&format!("  the same name for {same_label}, as familiar or strange {same_familiar}"))?;
    print_line(&format!("  a picture {before_ms:.1} -> {after_ms:.1} ms, {time_ratio:.2} of the time"))?;
    print_line(&format!("card: {}", card.display()))?;
    print_next_of_domain(output, comparison.scope)?;
    Ok(Outcome::Done)
}
