//! Where the parts of a model lie: in a folder as Hugging Face publishes it, with safetensors or with graphs, or in the two GGUF files
//! of llama.cpp.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{
    ModelError,
    decoder::{DecoderConfig, DecoderWeights},
    gguf::Gguf,
    tokenizer::TextTokenizer,
};

use super::{
    Checkpoint, GRAPHS_FOLDER, GraphFiles, ProcessorSettings, PromptBuilder, Tensors, VisionGeometry, VlmConfig,
    checkpoint::{INDEX_FILE, SINGLE_FILE},
    config::CONFIG_FILE,
    mmproj::{ARCHITECTURE, Mmproj, SHUFFLE},
    text,
};

/// The tokenizer of a model folder.
const TOKENIZER_FILE: &str = "tokenizer.json";
/// The token that ends an answer. `text_config` of some published files names another one, left over from pre-training.
const ANSWER_END: &str = "<end_of_utterance>";
/// The suffix of GGUF files.
const GGUF: &str = "gguf";

/// The files of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModelFiles {
    /// A folder as it is published on Hugging Face: `config.json`, `tokenizer.json`, safetensors and the processor's settings.
    Folder(PathBuf),
    /// The two files that llama.cpp's converter writes.
    Pair {
        /// The language model with its tokenizer.
        text: PathBuf,
        /// The vision encoder with the connector.
        mmproj: PathBuf,
    },
    /// A folder as it is published on Hugging Face, of which graphs for ONNX Runtime are taken instead of safetensors.
    Graphs(GraphFiles),
}

impl ModelFiles {
    /// Returns the files of the model at `model`: a folder with `config.json` and safetensors, or without these and with graphs, a folder with exactly one GGUF file of a language
    /// model and one of a vision encoder, or the former of these beside `mmproj`, the latter.
    ///
    /// # Errors
    /// When there is no such model, or the folder has several.
    pub fn find(model: &Path, mmproj: Option<&Path>) -> Result<Self, ModelError> {
        let is_folder =
            fs::metadata(model).map_err(|source| ModelError::Io { path: model.to_owned(), source })?.is_dir();
        match (is_folder, mmproj) {
            (false, Some(mmproj)) => Ok(Self::Pair { text: model.to_owned(), mmproj: mmproj.to_owned() }),
            (true, None) if model.join(CONFIG_FILE).exists() => Self::published_in(model),
            (true, None) => Self::pair_in(model),
            (true, Some(_)) => Err(ModelError::malformed(model, "a GGUF file beside an mmproj file", "a folder")),
            (false, None) => Err(ModelError::malformed(model, "a folder, or an mmproj file beside it", "one file")),
        }
    }

    fn published_in(folder: &Path) -> Result<Self, ModelError> {
        let has = |name: &&str| folder.join(name).exists();
        if ![SINGLE_FILE, INDEX_FILE].iter().any(has) && has(&GRAPHS_FOLDER) {
            return Ok(Self::Graphs(GraphFiles::find(folder, None)?));
        }
        Ok(Self::Folder(folder.to_owned()))
    }

    fn pair_in(folder: &Path) -> Result<Self, ModelError> {
        let (mut texts, mut mmprojs) = (Vec::new(), Vec::new());
        for path in gguf_files(folder)? {
            let is_vision = Gguf::open(&path)?.text("general.architecture")? == ARCHITECTURE;
            if is_vision { &mut mmprojs } else { &mut texts }.push(path);
        }
        match (texts.as_slice(), mmprojs.as_slice()) {
            ([text], [mmproj]) => Ok(Self::Pair { text: text.clone(), mmproj: mmproj.clone() }),
            _ => Err(ModelError::malformed(
                folder,
                format!("{CONFIG_FILE}, or one GGUF file of a language model and one of a vision encoder (mmproj)"),
                format!("no {CONFIG_FILE}, {} and {}", texts.len(), mmprojs.len()),
            )),
        }
    }
}

fn gguf_files(folder: &Path) -> Result<Vec<PathBuf>, ModelError> {
    let failed = |source| ModelError::Io { path: folder.to_owned(), source };
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|suffix| suffix.eq_ignore_ascii_case(GGUF)) {
            paths.push(path);
        }
    }
    paths.sort_unstable();
    Ok(paths)
}

/// The weights of a model, in place.
#[derive(Debug)]
pub(super) enum Weights {
    Folder(Checkpoint),
    Pair { text: Gguf, mmproj: Mmproj },
}

impl Weights {
    /// Returns the tensors of the vision encoder and the connector.
    pub(super) fn vision(&self) -> &dyn Tensors {
        match self {
            Self::Folder(checkpoint) => checkpoint,
            Self::Pair { mmproj, .. } => mmproj,
        }
    }

    /// Returns the weights of the language model of sizes `config`.
    ///
    /// # Errors
    /// When a tensor is absent, of another shape or of a type that does not fit.
    pub(super) fn decoder(&self, config: &DecoderConfig) -> Result<DecoderWeights<'_>, ModelError> {
        match self {
            Self::Folder(checkpoint) => text::weights(checkpoint, config),
            Self::Pair { text, .. } => DecoderWeights::from_gguf(text, config),
        }
    }
}

/// All parts of a model, read and checked against each other, except for the values of its weights.
#[derive(Debug)]
pub(super) struct Opened<W = Weights> {
    pub(super) config: VlmConfig,
    pub(super) settings: ProcessorSettings,
    pub(super) tokenizer: Arc<TextTokenizer>,
    pub(super) prompts: PromptBuilder,
    pub(super) weights: W,
}

impl<W> Opened<W> {
    /// Returns the parts of the model in `folder`, as it is published on Hugging Face, with `weights`.
    ///
    /// # Errors
    /// When a file is absent or malformed, or files disagree with each other.
    pub(super) fn folder(folder: &Path, weights: W) -> Result<Self, ModelError> {
        let config = VlmConfig::read(folder)?;
        let settings = ProcessorSettings::read(folder, geometry(&config))?;
        settings.check_normalisation(folder)?;
        let path = folder.join(TOKENIZER_FILE);
        let tokenizer = Arc::new(TextTokenizer::open(&path, ANSWER_END)?);
        check_vocabulary(&tokenizer, &config, &path)?;
        let prompts = prompts(&tokenizer, &config, &path)?;
        if prompts.image_token() != config.image_token {
            let expected = format!("<image> to be image_token_id, {}", config.image_token);
            return Err(ModelError::malformed(&path, expected, prompts.image_token()));
        }
        Ok(Self { config, settings, tokenizer, prompts, weights })
    }
}

impl Opened {
    /// Returns the parts of the model in two GGUF files.
    ///
    /// # Errors
    /// When a file is absent or malformed, or they disagree with each other.
    pub(super) fn pair(text: &Path, mmproj: &Path) -> Result<Self, ModelError> {
        let (text, mmproj) = (Gguf::open(text)?, Mmproj::new(Gguf::open(mmproj)?)?);
        let decoder = DecoderConfig::from_gguf(&text)?;
        mmproj.check_width(decoder.hidden, text.path())?;
        let tokenizer = Arc::new(TextTokenizer::from_gguf(&text, ANSWER_END)?);
        let (vision, shuffle) = mmproj.sizes()?;
        let mut config = VlmConfig { vision, text: decoder, shuffle, image_token: 0 };
        let fits = config.check([SHUFFLE, ""]);
        fits.map_err(|(expected, found)| ModelError::malformed(mmproj.path(), expected, found))?;
        let prompts = prompts(&tokenizer, &config, text.path())?;
        config.image_token = prompts.image_token();
        let settings = mmproj.processor(geometry(&config))?;
        settings.check_normalisation(mmproj.path())?;
        Ok(Self { config, settings, tokenizer, prompts, weights: Weights::Pair { text, mmproj } })
    }
}

fn geometry(config: &VlmConfig) -> VisionGeometry {
    // The sizes have been checked to be small.
    let [image_px, patch_px, shuffle] =
        [config.vision.image_px, config.vision.patch_px, config.shuffle].map(|size| size as u32);
    VisionGeometry { image_px, patch_px, shuffle }
}

/// Returns what builds prompts with the tokenizer in the file at `path`.
fn prompts(tokenizer: &Arc<TextTokenizer>, config: &VlmConfig, path: &Path) -> Result<PromptBuilder, ModelError> {
    let prompts = PromptBuilder::new(Arc::clone(tokenizer), config.tokens_per_frame());
    prompts.map_err(|error| error.in_file(path))
}

fn check_vocabulary(tokenizer: &TextTokenizer, config: &VlmConfig, path: &Path) -> Result<(), ModelError> {
    let (tokens, rows) = (tokenizer.vocabulary(), config.text.vocabulary);
    if tokens <= rows {
        return Ok(());
    }
    Err(ModelError::malformed(path, format!("at most vocab_size, {rows} tokens"), tokens))
}

#[cfg(test)]
mod tests;
