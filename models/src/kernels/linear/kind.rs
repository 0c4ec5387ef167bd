use super::Storage;
use crate::matrix::{Format, Matrix};

/// Kinds of blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    FourBit,
    EightBit,
    Brain,
    Full,
}

/// Returns the kind of block that holds all of `matrices`. A mixture of quantised ones takes 8 bits, unless it has `Q4_1`, whose
/// minima those do not hold; any other mixture is unpacked.
pub(super) fn kind(matrices: &[Matrix<'_>], storage: Storage) -> Kind {
    let mut kinds = matrices.iter().map(|matrix| kind_of(matrix.format, storage));
    let first = kinds.next().unwrap_or(Kind::Full);
    if kinds.all(|kind| kind == first) {
        return first;
    }
    let fits = |format| !matches!(format, Format::Q4_1 | Format::F32 | Format::F16 | Format::Bf16);
    if matrices.iter().all(|matrix| fits(matrix.format)) { Kind::EightBit } else { Kind::Full }
}

fn kind_of(format: Format, storage: Storage) -> Kind {
    match (format, storage) {
        (Format::Q4_0 | Format::Q4_1 | Format::Q4K, _) => Kind::FourBit,
        (Format::F32 | Format::F16 | Format::Bf16, storage) => kind_of_floats(format, storage),
        _ => Kind::EightBit,
    }
}

fn kind_of_floats(format: Format, storage: Storage) -> Kind {
    match (storage, format) {
        (Storage::AsStored, Format::Bf16) => Kind::Brain,
        (Storage::AsStored, _) => Kind::Full,
        (Storage::EightBit, _) => Kind::EightBit,
        (Storage::FourBit, _) => Kind::FourBit,
    }
}
