//! `loupe bench`: how fast a vision-language model runs on this machine, beside another engine where one is named.

mod llama_cpp;
mod own;
mod samples;

use std::path::{Path, PathBuf};

use clap::Args;
use models::smolvlm::ModelFiles;
use serde::Serialize;

use super::{Outcome, print_json, print_line, progress, schema::read_schema};

use llama_cpp::LlamaCpp;
use own::{Own, PRECISION, report_schema};
use samples::Samples;

/// Arguments of `loupe bench`.
#[derive(Debug, Args)]
pub(super) struct BenchArgs {
    /// Folder of a SmolVLM as it is published or as `loupe models quantize` writes it, or with its two GGUF files of llama.cpp, or the
    /// one of these with the language model
    #[arg(long, value_name = "PATH")]
    model: PathBuf,
    /// The GGUF file with the vision encoder, where --model is one with the language model
    #[arg(long, value_name = "FILE")]
    mmproj: Option<PathBuf>,
    /// Times that every part is measured
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=99))]
    rounds: u16,
    /// Threads that work, of the other engine as well
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=256))]
    threads: u16,
    /// Tokens of the prompt that is read; 256 are those of a picture of three frames
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u16).range(1..))]
    prompt_tokens: u16,
    /// Tokens that are written after it
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u16).range(2..))]
    new_tokens: u16,
    /// Positions that the language model can hold
    #[arg(long, value_name = "N", default_value_t = 1024)]
    context: usize,
    /// A JSON Schema that the answer about a picture satisfies; a report of some eighty tokens unless given
    #[arg(long, value_name = "FILE")]
    schema: Option<PathBuf>,
    /// Another engine to measure in turn with this one: the folder with llama-bench and llama-mtmd-cli
    #[arg(long, value_name = "llama.cpp=DIR", value_parser = parse_peer)]
    against: Option<PathBuf>,
    /// The other engine's language model; --model, where that is GGUF
    #[arg(long, value_name = "FILE", requires = "against")]
    their_model: Option<PathBuf>,
    /// The other engine's vision encoder; --mmproj unless given
    #[arg(long, value_name = "FILE", requires = "against")]
    their_mmproj: Option<PathBuf>,
    /// Print one JSON object instead of a table
    #[arg(long)]
    json: bool,
}

/// How much text is measured.
#[derive(Debug, Clone, Copy)]
struct Tokens {
    /// That are read.
    prompt: usize,
    /// That are written.
    new: usize,
}

/// What one engine was measured to do; what was not measured is absent.
#[derive(Debug, Default, Serialize)]
struct Measured {
    #[serde(skip_serializing_if = "Samples::is_empty")]
    load_ms: Samples,
    /// One frame, from pixels to the tokens that the language model reads.
    tile_ms: Samples,
    prefill_tokens_per_s: Samples,
    decode_tokens_per_s: Samples,
    /// A picture of 640 x 640 to the end of an answer, without loading: by this engine a report under a grammar from the whole picture
    /// and two enlarged parts, by the other 80 tokens from as many tiles as it cuts.
    answer_ms: Samples,
    #[serde(skip_serializing_if = "Option::is_none")]
    peak_resident_mb: Option<u64>,
}

/// What `--json` prints; the names are part of the interface.
#[derive(Debug, Serialize)]
struct Comparison {
    model: PathBuf,
    threads: u16,
    precision: &'static str,
    loupe: Measured,
    #[serde(skip_serializing_if = "Option::is_none")]
    llama_cpp: Option<Measured>,
}

impl BenchArgs {
    /// Measures and prints.
    ///
    /// # Errors
    /// When the model cannot be read, or the other engine is not where it is said to be, fails, or prints nothing that is known.
    pub(super) fn run(self) -> anyhow::Result<Outcome> {
        let files = ModelFiles::find(&self.model, self.mmproj.as_deref())?;
        let peer = self.against.as_deref().map(|folder| self.peer(folder, &files)).transpose()?;
        let tokens = Tokens { prompt: usize::from(self.prompt_tokens), new: usize::from(self.new_tokens) };
        let schema = self.schema.as_deref().map_or_else(|| Ok(report_schema()), read_schema)?;
        let own = Own { files, threads: usize::from(self.threads), context: self.context, tokens, schema };
        let mut comparison = Comparison {
            model: self.model.clone(),
            threads: self.threads,
            precision: PRECISION,
            loupe: Measured::default(),
            llama_cpp: peer.is_some().then(Measured::default),
        };
        let bar = progress::bar(u64::from(self.rounds), "measuring");
        // By turns: a machine's speed changes over minutes, for both alike.
        for round in 0..self.rounds {
            own.measure(&mut comparison.loupe)?;
            if let (Some(peer), Some(measured)) = (&peer, &mut comparison.llama_cpp) {
                peer.measure(tokens, measured)?;
                // A minute, with the times of all of its tiles: once is enough.
                if round == 0 {
                    peer.answer(measured)?;
                }
            }
            bar.inc(1);
        }
        bar.finish_and_clear();
        if self.json { print_json(&comparison) } else { comparison.print() }
    }

    fn peer(&self, folder: &Path, files: &ModelFiles) -> anyhow::Result<LlamaCpp> {
        let (mut text, mut mmproj) = (None, None);
        if let ModelFiles::Pair { text: own_text, mmproj: own_mmproj } = files {
            (text, mmproj) = (Some(own_text), Some(own_mmproj));
        }
        let needed = |given: &Option<PathBuf>, own: Option<&PathBuf>, key: &str| {
            given.as_ref().or(own).cloned().ok_or_else(|| anyhow::anyhow!("{key}: expected a GGUF file, found none"))
        };
        let text = needed(&self.their_model, text, "--their-model")?;
        let mmproj = needed(&self.their_mmproj, mmproj, "--their-mmproj")?;
        LlamaCpp::find(folder, (text, mmproj), self.threads)
    }
}

impl Comparison {
    fn print(&self) -> anyhow::Result<Outcome> {
        print_line(&format!("loupe: {}", self.precision))?;
        let heading = self.llama_cpp.as_ref().map_or(String::new(), |_| format!("{:>26} {:>8}", "llama.cpp", "ratio"));
        print_line(&format!("{:<44} {:>26}{heading}", "median (least to greatest)", "loupe"))?;
        let loupe = &self.loupe;
        let row = |name: &str, of: fn(&Measured) -> &Samples, better: Better| {
            let theirs = self.llama_cpp.as_ref().map_or(String::new(), |peer| beside(of(loupe), of(peer), better));
            print_line(&format!("{name:<44} {:>26}{theirs}", of(loupe)))
        };
        row("load, ms", |measured| &measured.load_ms, Better::Less)?;
        row("a tile, ms", |measured| &measured.tile_ms, Better::Less)?;
        row("prefill, tokens/s", |measured| &measured.prefill_tokens_per_s, Better::More)?;
        row("decode, tokens/s", |measured| &measured.decode_tokens_per_s, Better::More)?;
        row("640 x 640: report / all tiles, 80 tokens, ms", |measured| &measured.answer_ms, Better::Less)?;
        let peaks = [Some(&self.loupe), self.llama_cpp.as_ref()].into_iter().flatten().map(|measured| {
            format!("{:>26}", measured.peak_resident_mb.map_or_else(|| "-".to_owned(), |peak| peak.to_string()))
        });
        print_line(&format!("{:<44} {}", "peak resident memory, MB", peaks.collect::<String>()))?;
        Ok(Outcome::Done)
    }
}

/// What one would rather have of a quantity.
#[derive(Debug, Clone, Copy)]
enum Better {
    Less,
    More,
}

/// Returns the column of the other engine, and how many times better this one is.
fn beside(own: &Samples, theirs: &Samples, better: Better) -> String {
    let medians = own.median().zip(theirs.median());
    let ratio = medians.map(|(own, theirs)| match better {
        Better::Less => theirs / own,
        Better::More => own / theirs,
    });
    let ratio = ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}"));
    format!("{theirs:>26} {ratio:>8}")
}

fn parse_peer(text: &str) -> Result<PathBuf, String> {
    match text.split_once('=') {
        Some(("llama.cpp", folder)) if !folder.is_empty() => Ok(folder.into()),
        _ => Err("expected llama.cpp=DIR".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_name_of_another_engine() {
        assert_eq!(parse_peer("llama.cpp=/opt/llama/bin"), Ok("/opt/llama/bin".into()));
        for wrong in ["", "llama.cpp", "llama.cpp=", "vllm=/opt"] {
            assert!(parse_peer(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_ratio_above_one_is_in_favour_of_loupe() {
        let of = |values: &[f64]| {
            let mut samples = Samples::default();
            samples.extend(values.iter().copied());
            samples
        };
        assert!(beside(&of(&[100.0]), &of(&[500.0]), Better::Less).ends_with(" 5.00"));
        assert!(beside(&of(&[150.0]), &of(&[100.0]), Better::More).ends_with(" 1.50"));
        assert!(beside(&of(&[150.0]), &of(&[]), Better::More).ends_with(" -"));
    }
}
