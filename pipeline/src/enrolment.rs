//! What was learned for a station: one folder with `station.toml` and the reference that it names.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use models::{Bank, Calibration, Encoder, Gate, ModelError, Template, hash::file_sha256};
use serde::{Deserialize, Serialize};

use crate::{
    Reference,
    home::{Home, StationName},
    report::{DecidedBy, ModelUse},
};

/// The version that every `station.toml` carries.
const SCHEMA: &str = "loupe.station/1";
const CARD: &str = "station.toml";

/// How a station compares parts with good ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// With a bank of golden features, wherever in the picture they lie.
    Bank,
    /// Position by position with an aligned golden image.
    Template,
}

/// The contents of `station.toml`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StationCard {
    schema: String,
    /// The station.
    pub name: StationName,
    /// What the part is called in reports.
    pub product: String,
    /// How it compares.
    pub method: Method,
    /// Resolution of the encoder whose features are in the bank; absent for a template.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolution_px: Option<u32>,
    /// When it was enrolled (UTC).
    pub enrolled_at: Timestamp,
    /// Good pictures that it learned from.
    pub golden_images: usize,
    /// What the threshold promises, in one sentence.
    pub explanation: String,
    /// Upper 95 % bound of the false alarm rate; absent where nothing could be calibrated.
    pub false_alarm_bound: Option<f64>,
    reference: String,
    reference_sha256: String,
}

/// Why a station cannot be enrolled or used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EnrolmentError {
    /// Nothing of that name was enrolled.
    #[error("station {name}: expected it to be enrolled, found nothing in {}; run `loupe enroll --station {name} --good DIR`", folder.display())]
    NotEnrolled {
        /// The station.
        name: StationName,
        /// Where it should be.
        folder: PathBuf,
    },
    /// A file cannot be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
    /// `station.toml` is not what Loupe writes.
    #[error("{}: {found}", path.display())]
    BadCard {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        found: String,
    },
    /// The reference is not the one that `station.toml` names.
    #[error("{}: expected SHA-256 {expected}, found {found}; enrol the station again", path.display())]
    ChangedReference {
        /// The file.
        path: PathBuf,
        /// As `station.toml` says.
        expected: String,
        /// As computed.
        found: String,
    },
    /// A bank cannot judge without the encoder that made its features.
    #[error("station {name}: expected an encoder for its bank, found none")]
    NoEncoder {
        /// The station.
        name: StationName,
    },
    /// The reference itself.
    #[error(transparent)]
    Model(#[from] ModelError),
}

/// A gate that has just learned from good pictures.
#[derive(Debug)]
pub enum Learned {
    /// A bank of golden features and the resolution of the encoder that made them.
    Bank(Box<Bank>, u32),
    /// A golden template.
    Template(Box<Template>),
}

impl Learned {
    fn method(&self) -> Method {
        match self {
            Self::Bank(..) => Method::Bank,
            Self::Template(_) => Method::Template,
        }
    }

    fn resolution_px(&self) -> Option<u32> {
        match self {
            Self::Bank(_, resolution_px) => Some(*resolution_px),
            Self::Template(_) => None,
        }
    }

    fn save(&self, path: &Path) -> Result<(), ModelError> {
        match self {
            Self::Bank(bank, _) => bank.save(path),
            Self::Template(template) => template.save(path),
        }
    }

    /// Returns what the threshold means, in one sentence.
    pub fn explanation(&self) -> String {
        match self {
            Self::Bank(bank, _) => bank.calibration().explanation(),
            Self::Template(template) => template.explanation(),
        }
    }

    fn false_alarm_bound(&self) -> Option<f64> {
        let calibration = match self {
            Self::Bank(bank, _) => Some(bank.calibration()),
            Self::Template(template) => template.calibration(),
        };
        calibration.map(Calibration::overkill_bound_ratio)
    }
}

/// Writes what was `learned` from `golden_images` good pictures and returns the card of the station.
///
/// The card is replaced last and in one step: until then the station works as it did before.
///
/// # Errors
/// When the station's folder cannot be written.
pub fn save(
    home: &Home,
    name: &StationName,
    product: &str,
    (learned, golden_images): (&Learned, usize),
) -> Result<StationCard, EnrolmentError> {
    let folder = home.station(name);
    fs::create_dir_all(&folder).map_err(|source| EnrolmentError::Io { path: folder.clone(), source })?;
    let draft = folder.join("reference.draft");
    learned.save(&draft).inspect_err(|_| drop(fs::remove_file(&draft)))?;
    let reference_sha256 = sha256_of(&draft)?;
    let reference = format!("reference-{}.safetensors", &reference_sha256[..12]);
    rename(&draft, &folder.join(&reference))?;
    let card = StationCard {
        schema: SCHEMA.to_owned(),
        name: name.clone(),
        product: product.to_owned(),
        method: learned.method(),
        resolution_px: learned.resolution_px(),
        enrolled_at: Timestamp::now(),
        golden_images,
        explanation: learned.explanation(),
        false_alarm_bound: learned.false_alarm_bound(),
        reference,
        reference_sha256,
    };
    write_card(&folder, &card)?;
    remove_old_references(&folder, &card.reference);
    Ok(card)
}

fn write_card(folder: &Path, card: &StationCard) -> Result<(), EnrolmentError> {
    let path = folder.join(CARD);
    let text = toml::to_string_pretty(card)
        .map_err(|error| EnrolmentError::BadCard { path: path.clone(), found: error.to_string() })?;
    let draft = folder.join("station.draft");
    fs::write(&draft, text).map_err(|source| EnrolmentError::Io { path: draft.clone(), source })?;
    rename(&draft, &path)
}

/// A leftover costs room, nothing else, so failing to remove one is no failure.
fn remove_old_references(folder: &Path, current: &str) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let file_name = entry.file_name();
        let file_name = file_name.to_string_lossy();
        if file_name.starts_with("reference-") && file_name != current {
            fs::remove_file(entry.path()).ok();
        }
    }
}

impl StationCard {
    /// Returns the card of an enrolled station.
    ///
    /// # Errors
    /// [`EnrolmentError::NotEnrolled`] when there is none, [`EnrolmentError::BadCard`] when Loupe did not write it.
    pub fn open(home: &Home, name: &StationName) -> Result<Self, EnrolmentError> {
        let folder = home.station(name);
        let path = folder.join(CARD);
        let text = fs::read_to_string(&path).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => EnrolmentError::NotEnrolled { name: name.clone(), folder },
            _ => EnrolmentError::Io { path: path.clone(), source },
        })?;
        let bad = |found: String| EnrolmentError::BadCard { path: path.clone(), found };
        let card: Self = toml::from_str(&text).map_err(|error| bad(error.to_string().trim_end().replace('\n', " ")))?;
        if card.schema != SCHEMA {
            return Err(bad(format!("schema: expected {SCHEMA}, found {}", card.schema)));
        }
        Ok(card)
    }

    /// Returns the gate of the station, ready to judge, with what reports say about it. A bank is checked against the
    /// `encoder` whose features it will be compared with.
    ///
    /// # Errors
    /// When the reference is missing, damaged, not the one that was enrolled, or was made with another encoder.
    pub fn reference(&self, home: &Home, encoder: Option<&Encoder>) -> Result<Reference, EnrolmentError> {
        let path = home.station(&self.name).join(&self.reference);
        let found = sha256_of(&path)?;
        if found != self.reference_sha256 {
            return Err(EnrolmentError::ChangedReference { path, expected: self.reference_sha256.clone(), found });
        }
        let (gate, decided_by, name): (Box<dyn Gate>, _, _) = match (self.method, encoder) {
            (Method::Bank, Some(encoder)) => {
                (Box::new(Bank::load(&path, encoder)?), DecidedBy::Bank, "bank of golden features")
            }
            (Method::Bank, None) => return Err(EnrolmentError::NoEncoder { name: self.name.clone() }),
            (Method::Template, _) => (Box::new(Template::open(&path)?), DecidedBy::Template, "golden template"),
        };
        Ok(Reference {
            gate,
            decided_by,
            threshold_source: self.explanation.clone(),
            false_alarm_bound: self.false_alarm_bound,
            calibration_id: found.clone(),
            models: vec![gate_use(name, found)],
        })
    }
}

fn gate_use(name: &str, sha256: String) -> ModelUse {
    ModelUse {
        role: "gate".to_owned(),
        name: name.to_owned(),
        sha256,
        runtime: "loupe cpu".to_owned(),
        precision: "f32".to_owned(),
    }
}

fn rename(from: &Path, to: &Path) -> Result<(), EnrolmentError> {
    fs::rename(from, to).map_err(|source| EnrolmentError::Io { path: to.to_path_buf(), source })
}

fn sha256_of(path: &Path) -> Result<String, EnrolmentError> {
    file_sha256(path).map_err(|source| EnrolmentError::Io { path: path.to_path_buf(), source })
}
