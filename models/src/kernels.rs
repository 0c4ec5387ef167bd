//! Arithmetic of the models on the processor: linear layers over quantised weights, and what lies between them.
//!
//! ONNX Runtime has no operator for 4-bit weights with a float minimum, and its 4-bit product rounds activations to 8 bits; see
//! docs/performance.md for what that costs. Here weights of the language model are unpacked in registers and
//! everything else is `f32`, unless inputs may be rounded (`rounded`); the vision encoder multiplies in 8-bit integers (`integer`).

#![expect(
    clippy::inline_always,
    reason = "what is not inlined into a kernel is compiled without the kernel's instructions"
)]
#![expect(
    clippy::needless_range_loop,
    reason = "kernels walk several arrays in step; this form becomes vector instructions"
)]

mod block;
mod integer;
mod linear;
mod low_rank;
mod product;
mod rounded;
mod rows;
mod simd;
mod team;

pub(crate) use integer::{Add, Gelu, INPUTS_MAX, IntegerLinear, IntegerRows, PANEL_OUTPUTS, Range, Set, inverse};
pub use linear::{Activations, Storage};
pub(crate) use linear::{Linear, Scratch};
pub use low_rank::LowRank;
pub(crate) use product::{TILE_ROWS, TileRow, pack_tile, tile};
pub(crate) use rows::{add, exp2, gated_gelu, gated_silu, layer_norm, rms_norm, soft_cap, soft_cap_row, softmax};
pub(crate) use simd::{Kernel, LANES, Lanes, Level, Simd, Words};
pub(crate) use team::Team;
