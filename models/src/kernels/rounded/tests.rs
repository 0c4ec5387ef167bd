use super::*;
use crate::{
    kernels::{Activations, Linear, Scratch, Storage},
    matrix::{BLOCK_LEN, Format, Matrix},
};

/// Blocks of a scale of about 0.01 and of minima that are not the same everywhere.
fn stored(format: Format, blocks: usize) -> Vec<u8> {
    let half = |value: f32| half::f16::from_f32(value).to_le_bytes();
    let block = |at: usize| {
        let (scale, minimum) = (half(0.01 + 0.001 * (at % 7) as f32), half(-0.05 - 0.01 * (at % 3) as f32));
        let quants = |len: usize| (0..len).map(move |byte| (byte * 53 + at * 29) as u8);
        match format {
            Format::Q4_1 => scale.into_iter().chain(minimum).chain(quants(16)).collect::<Vec<_>>(),
            Format::Q4_0 => scale.into_iter().chain(quants(16)).collect(),
            _ => scale.into_iter().chain(quants(32)).collect(),
        }
    };
    (0..blocks).flat_map(block).collect()
}

/// Rows of magnitudes that differ from block to block; one block is all zeros.
fn inputs(rows: usize, inputs: usize) -> Vec<f32> {
    let value = |at: usize| {
        let block = at / BLOCK_LEN;
        if block == 1 { 0.0 } else { (at as f32 * 0.37).sin() * [1.0, 30.0, 0.01][block % 3] }
    };
    (0..rows * inputs).map(value).collect()
}

/// Returns `values` as the kernel is meant to round them: to 127 steps of the largest magnitude of 32.
fn rounded(values: &[f32]) -> Vec<f64> {
    let block = |block: &[f32]| {
        let scale = f64::from(block.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()))) / 127.0;
        let round = move |value: &f32| if scale > 0.0 { (f64::from(*value) / scale).round() * scale } else { 0.0 };
        block.iter().map(round).collect::<Vec<_>>()
    };
    values.chunks(BLOCK_LEN).flat_map(block).collect()
}

/// Whole and partial tiles, groups and panels; more threads than groups; a minimum multiplies what was not rounded.
#[test]
fn multiplies_rounded_rows_as_the_definition_says() {
    let sizes = [(32, 5), (64, 16), (96, 150), (1600, 70)];
    let formats = [(Format::Q4_0, Some(8.0)), (Format::Q4_1, None), (Format::Q8_0, Some(0.0))];
    for ((row_len, outputs), (format, zero)) in sizes.into_iter().flat_map(|size| formats.map(|format| (size, format)))
    {
        let data = stored(format, outputs * row_len / BLOCK_LEN);
        let matrix = Matrix { rows: outputs, row_len, format, data: &data };
        let layer = Linear::pack("test", &[matrix], Storage::AsStored).unwrap().with_activations(Activations::Rounded);
        let weights = matrix.to_f32();
        for (rows, threads) in [(4, 1), (12, 5), (29, 2)] {
            let values = inputs(rows, row_len);
            let rounded = rounded(&values);
            for simd in Simd::all() {
                let mut found = vec![f32::NAN; rows * outputs];
                layer.apply((simd, &mut Team::new(threads), &mut Scratch::default()), &values, &mut found);
                for (at, found) in found.iter().enumerate() {
                    let (row, output) = (at / outputs, at % outputs);
                    let products = (0..row_len).map(|input| {
                        let weight = f64::from(weights[output * row_len + input]);
                        let minimum = minimum(&matrix, zero, (output, input));
                        let (exact, rounded) = (values[row * row_len + input], rounded[row * row_len + input]);
                        (weight - minimum) * rounded + minimum * f64::from(exact)
                    });
                    let expected: f64 = products.sum();
                    let error = (f64::from(*found) - expected).abs();
                    assert!(
                        error < 2e-3,
                        "{simd:?}, {threads} threads, {format:?}, {rows} x {row_len} x {outputs}, {at}: {error}"
                    );
                }
            }
        }
    }
}

/// Returns the part of a weight that is the same for its whole block: -8 times the scale in `Q4_0`.
fn minimum(matrix: &Matrix<'_>, zero: Option<f64>, (output, input): (usize, usize)) -> f64 {
    let row = matrix.row(output).unwrap();
    let bytes = matrix.format.bytes_for(BLOCK_LEN).unwrap();
    let block = &row[input / BLOCK_LEN * bytes..];
    let half = |at: usize| half::f16::from_le_bytes([block[at], block[at + 1]]).to_f64();
    zero.map_or_else(|| half(2), |zero| -zero * half(0))
}

/// Rounding the inputs may cost what rounding them to 8 bits costs, and no more.
#[test]
fn stays_near_the_exact_product() {
    let (row_len, outputs, rows) = (576, 64, 24);
    let data = stored(Format::Q4_1, outputs * row_len / BLOCK_LEN);
    let matrix = Matrix { rows: outputs, row_len, format: Format::Q4_1, data: &data };
    let values = inputs(rows, row_len);
    let [exact, rounded] = [Activations::Exact, Activations::Rounded].map(|activations| {
        let layer = Linear::pack("test", &[matrix], Storage::AsStored).unwrap().with_activations(activations);
        let mut outputs = vec![0.0; rows * outputs];
        layer.apply((Simd::detect(), &mut Team::new(1), &mut Scratch::default()), &values, &mut outputs);
        outputs
    });
    let square = |values: &mut dyn Iterator<Item = f32>| values.map(|value| f64::from(value).powi(2)).sum::<f64>();
    let noise = square(&mut exact.iter().zip(&rounded).map(|(exact, rounded)| exact - rounded));
    let ratio = (noise / square(&mut exact.iter().copied())).sqrt();
    assert!(ratio > 0.0 && ratio < 0.01, "{ratio}");
}
