//! A bundle: the files of a model with size, SHA-256, licence and source, and how to feed it.

use std::{
    env::consts::{ARCH, OS},
    fmt, fs,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::ModelError;

mod check;

/// The name of the bundle that is built into the binary.
pub const DEFAULT_BUNDLE: &str = "loupe-edge";

/// The file in a bundle's folder that describes it.
pub const MANIFEST: &str = "bundle.toml";

const EMBEDDED: &str = include_str!("../../configs/models/loupe-edge/bundle.toml");
const SCHEMA: &str = "loupe.bundle/1";

/// A model with everything that must be known to run it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bundle {
    /// Version of the description's format.
    pub schema: String,
    /// Lower-case letters, digits and `-`.
    pub name: String,
    /// Changes with every file.
    pub version: String,
    /// One line for a person.
    pub description: String,
    /// The vision encoder.
    pub encoder: EncoderFacts,
    /// The language model.
    pub language: LanguageFacts,
    /// Every file, those for other platforms included.
    pub files: Vec<BundleFile>,
    /// The folder that it was read from; `None` for the one in the binary.
    #[serde(skip)]
    pub folder: Option<PathBuf>,
}

/// How to feed a vision encoder.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EncoderFacts {
    /// The network.
    pub architecture: EncoderArchitecture,
    /// Side of the pictures that its weights were trained on, in pixels.
    pub trained_at_px: u32,
    /// Order of the input's channels.
    pub channel_order: ChannelOrder,
    /// Subtracted from each channel of 0..=255.
    pub mean: [f32; 3],
    /// Divides what is left; above 0.
    pub std: [f32; 3],
}

/// Vision networks that Loupe can build.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EncoderArchitecture {
    /// EfficientNet-Lite0.
    EfficientnetLite0,
}

/// Order of an input's channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChannelOrder {
    /// Red, green, blue.
    Rgb,
    /// Blue, green, red.
    Bgr,
}

/// How to talk to a language model.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LanguageFacts {
    /// The network.
    pub architecture: LanguageArchitecture,
    /// How a conversation becomes one text.
    pub chat_template: ChatTemplate,
    /// Longest prompt and answer together, in tokens.
    pub context_tokens: usize,
    /// Whether an image adapter feeds it.
    pub sees_pixels: bool,
}

/// Language networks that Loupe can build.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LanguageArchitecture {
    /// Llama with grouped queries, rotary positions and a gated feed-forward part.
    Llama,
}

/// How a conversation becomes one text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChatTemplate {
    /// `<|im_start|>role\ntext<|im_end|>\n`.
    Chatml,
}

/// What a file is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Weights of the vision encoder.
    EncoderWeights,
    /// Weights and tokenizer of the language model.
    LanguageModel,
    /// The shared library that runs the graphs.
    RuntimeLibrary,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::EncoderWeights => "encoder weights",
            Self::LanguageModel => "language model",
            Self::RuntimeLibrary => "runtime library",
        })
    }
}

/// One file of a bundle.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BundleFile {
    /// What it is for.
    pub role: Role,
    /// Operating system and processor that it is for, as in `linux-x86_64`; `None` for all.
    pub platform: Option<String>,
    /// Its name in the cache, without folders.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// Of its content, lower-case hexadecimal.
    pub sha256: String,
    /// SPDX identifier.
    pub licence: String,
    /// How its numbers are stored, for weights.
    pub precision: Option<String>,
    /// Where it comes from.
    pub source: Source,
}

/// Where a file comes from.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Source {
    /// It lies beside [`MANIFEST`].
    Beside {},
    /// A member of a wheel in the Python package index.
    Pypi(PypiSource),
}

/// A member of a wheel.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PypiSource {
    /// Name of the package.
    pub package: String,
    /// Its exact version.
    pub version: String,
    /// Path inside the wheel, with `/` between parts.
    pub member: String,
    /// Which of several wheels, where the package has compiled parts.
    pub wheel: Option<WheelTags>,
}

/// Names one of the wheels of a package with compiled parts.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WheelTags {
    /// For example `3.11`.
    pub python_version: String,
    /// For example `cp`.
    pub implementation: String,
    /// For example `cp311`.
    pub abi: String,
    /// For example `manylinux_2_28_x86_64`.
    pub platform: String,
}

impl Bundle {
    /// Returns the bundle in the binary when `name` is its name, else the one that the folder `name` describes.
    ///
    /// # Errors
    /// When there is neither, or the description is not one that Loupe understands.
    pub fn open(name: &str) -> Result<Self, ModelError> {
        if name == DEFAULT_BUNDLE {
            return Self::embedded();
        }
        let folder = Path::new(name);
        if !folder.is_dir() {
            return Err(ModelError::Mismatch {
                what: "bundle".to_owned(),
                expected: format!("{DEFAULT_BUNDLE} or a folder with a {MANIFEST}"),
                found: name.to_owned(),
            });
        }
        let path = folder.join(MANIFEST);
        let text = fs::read_to_string(&path).map_err(|source| ModelError::Io { path: path.clone(), source })?;
        Ok(Self { folder: Some(folder.to_owned()), ..Self::parse(&text, &path)? })
    }

    /// Returns the bundle in the binary.
    ///
    /// # Errors
    /// When its description is damaged, which the tests rule out.
    pub fn embedded() -> Result<Self, ModelError> {
        Self::parse(EMBEDDED, &Path::new(DEFAULT_BUNDLE).join(MANIFEST))
    }

    /// Returns the bundle that `text` describes; `path` is named in errors.
    ///
    /// # Errors
    /// When a key is unknown, missing or out of range.
    pub fn parse(text: &str, path: &Path) -> Result<Self, ModelError> {
        let bundle: Self = toml::from_str(text).map_err(|error| malformed(text, path, &error))?;
        check::bundle(&bundle, path)?;
        Ok(bundle)
    }

    /// Returns the files that this machine needs.
    pub fn files_here(&self) -> impl Iterator<Item = &BundleFile> {
        let here = platform();
        self.files.iter().filter(move |file| file.platform.as_deref().is_none_or(|platform| platform == here))
    }

    /// Returns this machine's file for `role`.
    ///
    /// # Errors
    /// When the bundle has none for this platform.
    pub fn file(&self, role: Role) -> Result<&BundleFile, ModelError> {
        self.files_here().find(|file| file.role == role).ok_or_else(|| ModelError::Mismatch {
            what: format!("bundle {}", self.name),
            expected: format!("a {role} for {}", platform()),
            found: "none".to_owned(),
        })
    }
}

/// Returns this machine's operating system and processor, as in `linux-x86_64`.
pub fn platform() -> String {
    format!("{OS}-{ARCH}")
}

fn malformed(text: &str, path: &Path, error: &toml::de::Error) -> ModelError {
    let line = error.span().map_or(1, |span| text[..span.start.min(text.len())].matches('\n').count() + 1);
    ModelError::Malformed {
        path: path.to_owned(),
        expected: format!("a description of a bundle ({SCHEMA})"),
        found: format!("in line {line}: {}", error.message().replace('\n', ", ")),
    }
}

#[cfg(test)]
mod tests;
