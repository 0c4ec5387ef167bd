use serde::{Deserialize, Serialize};

/// In which ways the eyes look at a picture for the head.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Views {
    /// As it is.
    #[default]
    Plain,
    /// Upside down as well, in twice the time: the head takes the mean of both descriptions, which says better how sure it is.
    UpsideDownToo,
}

impl Views {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
    pub(super) fn is_plain(&self) -> bool {
        *self == Self::Plain
    }
}
