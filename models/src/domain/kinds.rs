use safetensors::SafeTensors;

use crate::{
    encoder::DESCRIPTION_DIM,
    head::{Linear, log_softmax},
    product::Matrix,
    tensor_file::{Fault, Tensor},
};

use super::file::shaped;

const WEIGHT: &str = "kinds.weight";
const BIAS: &str = "kinds.bias";
/// A less likely kind is not told: what a domain has never seen may be of a set that its head of kinds has never seen either.
const SURE_FROM: f64 = 0.8;

/// What a picture shows at all: of one that a domain does not know, this can still be said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A plant, or a piece of one.
    Plant,
    /// A part or a surface that somebody has made.
    Part,
    /// Too little to tell: it is out of focus, too dark or too bright.
    PoorPicture,
    /// None of these: text, noise, a pattern.
    Other,
}

/// A head that tells kinds apart; `models/training/kinds.py` fits it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Kinds(Linear);

impl Kinds {
    /// In the order of the head's rows.
    const ROWS: [Kind; 4] = [Kind::Plant, Kind::Part, Kind::PoorPicture, Kind::Other];

    /// Returns the head in a file; `None` where it has none, as domains of `loupe train` do.
    pub(super) fn read(tensors: &SafeTensors<'_>) -> Result<Option<Self>, Fault> {
        if tensors.tensor(WEIGHT).is_err() {
            return Ok(None);
        }
        let count = Self::ROWS.len();
        let weights = Matrix::new(shaped(tensors, WEIGHT, &[count, DESCRIPTION_DIM])?, DESCRIPTION_DIM);
        Ok(Some(Self(Linear { weights, bias: shaped(tensors, BIAS, &[count])? })))
    }

    pub(super) fn tensors(&self) -> [Tensor; 2] {
        let Self(Linear { weights, bias }) = self;
        [Tensor::matrix(WEIGHT.to_owned(), weights), Tensor::vector(BIAS.to_owned(), bias)]
    }

    /// Returns the kind of a frame of this description; `None` where none is likely enough.
    pub(super) fn of(&self, description: &[f32]) -> Option<Kind> {
        let logits = self.0.logits(&Matrix::new(description.to_vec(), DESCRIPTION_DIM));
        let likely = log_softmax(logits.row(0), 1.0).into_iter().map(f64::exp);
        likely.zip(Self::ROWS).find(|(probability, _)| *probability >= SURE_FROM).map(|(_, kind)| kind)
    }
}
