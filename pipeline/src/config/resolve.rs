//! From values as they are written to values that can be relied on.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Display,
    path::{Path, PathBuf},
    time::Duration,
};

use cameras::CameraConfig;
use models::domain::Domain;

use super::{Config, ConfigError, RawConfig, RawDeadline, RawEyes, RawPolicy, RawStation, StationConfig, sha256};
use crate::{
    check::QualityLimits,
    diagnosis::EyesSource,
    home::{Home, StationName},
    policy::{Deadline, Policy},
};

/// Returns the checked form of `raw`, which was read from `path` and took effect as `effective`.
pub(super) fn resolve(raw: RawConfig, path: &Path, effective: String) -> Result<Config, ConfigError> {
    let RawConfig { data, models, cameras, stations } = raw;
    let check = Check { path };
    check.that("models.threads", "1 or more", models.threads.unwrap_or(1), |threads| threads > 0)?;
    check.that("stations", "at least one", stations.len(), |count| count > 0)?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let home = match data.folder {
        Some(data) => Home::at(folder.join(data)),
        None => Home::locate().map_err(|source| ConfigError::NoDataFolder { path: path.to_path_buf(), source })?,
    };
    check.cameras(&cameras, &stations)?;
    let mut resolved = Vec::with_capacity(stations.len());
    for (name, station) in stations {
        let name = check.name(&name)?;
        resolved.push(check.station(name, station, &cameras)?);
    }
    for station in &mut resolved {
        locate(&mut station.camera, folder);
    }
    Ok(Config { home, evidence: data.evidence, models, stations: resolved, sha256: sha256(&effective), effective })
}

/// Makes the paths of `camera` relative to `folder`.
fn locate(camera: &mut CameraConfig, folder: &Path) {
    match camera {
        CameraConfig::Folder(camera) => camera.paths.iter_mut().for_each(|path| *path = folder.join(&*path)),
        CameraConfig::Synthetic(_) => {}
    }
}

struct Check<'a> {
    path: &'a Path,
}

impl Check<'_> {
    fn that<T: Display + Copy>(
        &self,
        key: &str,
        expected: &str,
        found: T,
        holds: impl FnOnce(T) -> bool,
    ) -> Result<(), ConfigError> {
        if holds(found) { Ok(()) } else { Err(self.invalid(key, expected, found)) }
    }

    fn invalid(&self, key: &str, expected: &str, found: impl Display) -> ConfigError {
        let (key, expected) = (key.to_owned(), expected.to_owned());
        ConfigError::Invalid { path: self.path.to_path_buf(), key, expected, found: found.to_string() }
    }

    fn cameras(
        &self,
        cameras: &BTreeMap<String, CameraConfig>,
        stations: &BTreeMap<String, RawStation>,
    ) -> Result<(), ConfigError> {
        let mut used = BTreeSet::new();
        for (name, station) in stations {
            let key = format!("stations.{name}.camera");
            if !cameras.contains_key(&station.camera) {
                let names: Vec<&str> = cameras.keys().map(String::as_str).collect();
                let expected = format!("the name of a camera ({})", names.join(", "));
                return Err(self.invalid(&key, &expected, format!("`{}`", station.camera)));
            }
            if !used.insert(&station.camera) {
                let found = format!("`{}`, which another station uses", station.camera);
                return Err(self.invalid(&key, "a camera of its own", found));
            }
        }
        match cameras.keys().find(|name| !used.contains(name)) {
            Some(name) => Err(self.invalid(&format!("cameras.{name}"), "a station that uses it", "none")),
            None => Ok(()),
        }
    }

    fn name(&self, name: &str) -> Result<StationName, ConfigError> {
        let expected = "a name of 1 to 64 letters, digits, `.`, `-` and `_`";
        name.parse().map_err(|_bad_name| self.invalid(&format!("stations.{name}"), expected, format!("`{name}`")))
    }

    fn station(
        &self,
        name: StationName,
        station: RawStation,
        cameras: &BTreeMap<String, CameraConfig>,
    ) -> Result<StationConfig, ConfigError> {
        let RawStation { camera: camera_name, reference, overload, quality, policy, eyes, deadline } = station;
        let key = format!("stations.{name}");
        self.limits(&key, &quality)?;
        let mut policy = self.policy(&key, &policy, deadline.as_ref())?;
        let eyes = eyes.map(|eyes| self.eyes(&key, eyes, &mut policy)).transpose()?;
        let camera = cameras[&camera_name].clone();
        let reference = reference.unwrap_or_else(|| name.clone());
        Ok(StationConfig { name, camera_name, camera, reference, eyes, overload, limits: quality, policy })
    }

    fn limits(&self, station: &str, limits: &QualityLimits) -> Result<(), ConfigError> {
        let key = |name: &str| format!("{station}.quality.{name}");
        let share = |value: f64| (0.0..=1.0).contains(&value);
        self.that(&key("max_saturated_ratio"), "0 to 1", limits.max_saturated_ratio, share)?;
        self.that(&key("max_dark_ratio"), "0 to 1", limits.max_dark_ratio, share)?;
        self.that(&key("min_focus"), "0 or more", limits.min_focus, |focus| focus >= 0.0 && focus.is_finite())
    }

    fn policy(&self, station: &str, policy: &RawPolicy, deadline: Option<&RawDeadline>) -> Result<Policy, ConfigError> {
        let RawPolicy { amber_p_value, amber, rejected } = *policy;
        let key = format!("{station}.policy.amber_p_value");
        self.that(&key, "0 to 1", amber_p_value, |p| (0.0..=1.0).contains(&p))?;
        let deadline = match deadline {
            None => None,
            Some(&RawDeadline { within_millis, failsafe }) => {
                let key = format!("{station}.deadline.within_millis");
                self.that(&key, "1 or more", within_millis, |millis| millis > 0)?;
                Some(Deadline { within: Duration::from_millis(within_millis), failsafe })
            }
        };
        Ok(Policy { amber_p_value, amber, rejected, deadline, ..Policy::default() })
    }

    /// Returns a path that may be relative to the folder of the configuration.
    fn beside(&self, path: impl AsRef<Path>) -> PathBuf {
        self.path.parent().unwrap_or(Path::new("")).join(path)
    }

    fn eyes(&self, station: &str, eyes: RawEyes, policy: &mut Policy) -> Result<EyesSource, ConfigError> {
        let RawEyes { domain, head, good_classes, sure_from, familiar_from } = eyes;
        let key = |name: &str| format!("{station}.eyes.{name}");
        for (name, share) in [("sure_from", sure_from), ("familiar_from", familiar_from)] {
            self.that(&key(name), "0 to 1", share, |share| (0.0..=1.0).contains(&share))?;
        }
        (policy.sure_from, policy.familiar_from) = (sure_from, familiar_from);
        match (domain, head) {
            (Some(domain), None) if Domain::embedded().any(|known| known == domain) => Ok(EyesSource::Domain(domain)),
            (Some(file), None) => Ok(EyesSource::Domain(self.beside(file).display().to_string())),
            (None, Some(folder)) => Ok(EyesSource::Head { folder: self.beside(folder), good_classes }),
            (domain, _) => {
                let found = if domain.is_some() { "both" } else { "neither" };
                Err(self.invalid(&format!("{station}.eyes"), "either `domain` or `head`", found))
            }
        }
    }
}
