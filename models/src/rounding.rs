/// Added to a number that is small, 1.5 * 2^23 leaves the nearest whole number in the lowest bits; taken away again, that number
/// itself. Unlike a library call, this becomes vector instructions.
pub(crate) const ROUND: f32 = 12_582_912.0;
