//! The configuration: TOML, overridden by the environment, checked once, and after that never looked at as text again.
//!
//! A `LOUPE__SECTION__KEY` variable overrides `section.key`: parts are matched without regard to case, `_` stands for `-`, and
//! values are TOML where the key is not text.

use std::{fs, path::Path};

use cameras::CameraConfig;
use models::hash::sha256;

use crate::{
    check::QualityLimits,
    diagnosis::EyesSource,
    evidence::EvidencePolicy,
    home::{Home, StationName},
    policy::Policy,
    queue::Overload,
};

mod error;
mod keys;
mod overrides;
mod raw;
mod resolve;

pub use error::ConfigError;
pub use raw::{Device, RawConfig, RawData, RawDeadline, RawEyes, RawModels, RawPolicy, RawStation};

/// Variables of the environment that start with this override the file.
pub const OVERRIDE_PREFIX: &str = "LOUPE__";

/// A checked configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Where everything that Loupe writes goes.
    pub home: Home,
    /// Which verdicts get evidence files.
    pub evidence: EvidencePolicy,
    /// The models that all stations share.
    pub models: RawModels,
    /// By name, in the order of the names; at least one.
    pub stations: Vec<StationConfig>,
    /// The whole configuration as it took effect, as TOML.
    pub effective: String,
    /// SHA-256 of [`Self::effective`], lower-case hexadecimal; goes into every report.
    pub sha256: String,
}

/// One checked station.
#[derive(Debug, Clone, PartialEq)]
pub struct StationConfig {
    /// Its name.
    pub name: StationName,
    /// The name of its camera.
    pub camera_name: String,
    /// Its camera.
    pub camera: CameraConfig,
    /// The name under which its good parts are enrolled.
    pub reference: StationName,
    /// Its trained eyes, if it has any.
    pub eyes: Option<EyesSource>,
    /// What happens to frames that come too fast.
    pub overload: Overload,
    /// What a picture must offer to be judged.
    pub limits: QualityLimits,
    /// How it decides.
    pub policy: Policy,
}

impl Config {
    /// Returns the configuration in the file at `path`, with the overrides of this process's environment.
    ///
    /// # Errors
    /// When the file cannot be read, is no TOML, has an unknown key, or a value is missing or out of range.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text =
            fs::read_to_string(path).map_err(|source| ConfigError::Unreadable { path: path.to_path_buf(), source })?;
        // Names and values that are not Unicode cannot name a key.
        let variables =
            std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        Self::parse(&text, path, variables)
    }

    /// Returns the configuration in `text`, which was read from `path`, overridden by those `variables` that start with
    /// [`OVERRIDE_PREFIX`]. Relative paths in it are relative to the folder of `path`.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn parse(
        text: &str,
        path: &Path,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let schema = schema();
        keys::check(text, path, &schema)?;
        let raw: RawConfig = toml::from_str(text).map_err(|error| ConfigError::malformed(path, text, &error))?;
        let raw = overrides::apply(raw, text, variables, &schema)?;
        let effective = effective(&raw, path)?;
        resolve::resolve(raw, path, effective)
    }
}

/// Returns the JSON Schema of a configuration file.
pub fn schema() -> serde_json::Value {
    schemars::schema_for!(RawConfig).to_value()
}

fn effective(raw: &RawConfig, path: &Path) -> Result<String, ConfigError> {
    toml::to_string_pretty(raw).map_err(|error| ConfigError::Invalid {
        path: path.to_path_buf(),
        key: "(whole file)".to_owned(),
        expected: "values that TOML can hold".to_owned(),
        found: error.to_string(),
    })
}

#[cfg(test)]
mod tests;
