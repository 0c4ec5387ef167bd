//! The folder where Loupe keeps what it has learned and recorded.

use std::{
    env, fmt,
    path::{Path, PathBuf},
    str::FromStr,
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The folder that holds `stations/` (what was enrolled), `db/`, `evidence/` and `runs/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Home {
    root: PathBuf,
}

/// Why there is no folder to keep things in, or a name is not fit for one.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum HomeError {
    /// No variable tells where the user's files are.
    #[error("data folder: expected LOUPE_DATA, XDG_DATA_HOME or HOME to be set, found none")]
    NoVariable,
    /// A station's name cannot be a folder's name.
    #[error("station name: expected 1 to 64 of a-z, A-Z, 0-9, '-', '_', '.', not starting with '.', found {found:?}")]
    BadStationName {
        /// The name as given.
        found: String,
    },
}

impl Home {
    /// Returns the user's folder: `LOUPE_DATA`, else `loupe` in `XDG_DATA_HOME`, else `.local/share/loupe` in `HOME`.
    ///
    /// # Errors
    /// [`HomeError::NoVariable`] when none of the three is set.
    pub fn locate() -> Result<Self, HomeError> {
        Self::from_variables(|name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from))
    }

    fn from_variables(variable: impl Fn(&str) -> Option<PathBuf>) -> Result<Self, HomeError> {
        let shared = || variable("XDG_DATA_HOME").map(|folder| folder.join("loupe"));
        let own = || variable("HOME").map(|folder| folder.join(".local/share/loupe"));
        let root = variable("LOUPE_DATA").or_else(shared).or_else(own).ok_or(HomeError::NoVariable)?;
        Ok(Self { root })
    }

    /// Returns the folder at `root`, wherever that is.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Returns the folder itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Returns the folder of all that was enrolled.
    pub fn stations(&self) -> PathBuf {
        self.root.join("stations")
    }

    /// Returns the folder of what was enrolled for one station.
    pub fn station(&self, name: &StationName) -> PathBuf {
        self.stations().join(name.as_str())
    }
}

/// The name in reports where pictures are inspected without a station.
pub(crate) const UNNAMED: &str = "unnamed";

/// A station's name: fit to be the name of a folder on every system.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
pub struct StationName(String);

impl StationName {
    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for StationName {
    type Err = HomeError;

    fn from_str(text: &str) -> Result<Self, HomeError> {
        let fit = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if (1..=64).contains(&text.len()) && text.chars().all(fit) && !text.starts_with('.') {
            Ok(Self(text.to_owned()))
        } else {
            Err(HomeError::BadStationName { found: text.to_owned() })
        }
    }
}

impl TryFrom<String> for StationName {
    type Error = HomeError;

    fn try_from(text: String) -> Result<Self, HomeError> {
        text.parse()
    }
}

impl From<StationName> for String {
    fn from(name: StationName) -> Self {
        name.0
    }
}

impl fmt::Display for StationName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn follows_the_variables_in_order() {
        let cases = [
            (vec![("LOUPE_DATA", "/a"), ("XDG_DATA_HOME", "/b"), ("HOME", "/c")], Some("/a")),
            (vec![("XDG_DATA_HOME", "/b"), ("HOME", "/c")], Some("/b/loupe")),
            (vec![("HOME", "/c")], Some("/c/.local/share/loupe")),
            (vec![], None),
        ];
        for (variables, expected) in cases {
            let found = Home::from_variables(|name| {
                variables.iter().find(|(key, _)| *key == name).map(|(_, value)| PathBuf::from(value))
            });
            assert_eq!(found.ok().map(|home| home.root), expected.map(PathBuf::from), "{variables:?}");
        }
    }

    #[test]
    fn station_names_cannot_leave_their_folder() {
        for name in ["press-4", "A.b_9", "x"] {
            assert_eq!(name.parse::<StationName>().unwrap().as_str(), name);
        }
        for name in ["", ".", "..", ".hidden", "a/b", "a b", "é", &"x".repeat(65)] {
            assert!(name.parse::<StationName>().is_err(), "{name:?}");
        }
    }
}
