use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

/// Less shows nothing; no picture has more on a side.
const SIDES_PX: RangeInclusive<u32> = 8..=65_536;

/// What of a frame trained eyes look at: what they learned from is what they can name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// The whole picture.
    #[default]
    Picture,
    /// A place that something else has marked, with what is about it.
    Places {
        /// See [`cameras::Place::side_px`].
        side_px: u32,
    },
}

impl Scope {
    /// Returns the side of what is shown of a frame, where that is not the whole.
    pub const fn side_px(self) -> Option<u32> {
        match self {
            Self::Picture => None,
            Self::Places { side_px } => Some(side_px),
        }
    }

    /// Returns what is looked at, in words.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Picture => "a whole picture",
            Self::Places { .. } => "a place that something else has marked, with what is about it",
        }
    }

    /// Returns what is wrong with it as a file states it, as expected and found; `None` where nothing is.
    pub(crate) fn fault(self) -> Option<(String, u32)> {
        let side_px = self.side_px().filter(|side_px| !SIDES_PX.contains(side_px))?;
        Some((format!("a side of places of {} to {} px", SIDES_PX.start(), SIDES_PX.end()), side_px))
    }

    /// Returns whether it is what files say nothing about.
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes it so")]
    pub(crate) const fn is_picture(&self) -> bool {
        matches!(self, Self::Picture)
    }
}
