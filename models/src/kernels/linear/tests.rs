use super::*;
use crate::matrix::Format;

/// Returns `[rows, row_len]` floats as a file stores them.
fn floats(rows: usize, row_len: usize, seed: usize) -> Vec<u8> {
    (0..rows * row_len).flat_map(|at| (((at + seed) as f32 * 0.37).sin() * 0.2).to_le_bytes()).collect()
}

fn matrix(rows: usize, row_len: usize, data: &[u8]) -> Matrix<'_> {
    Matrix { rows, row_len, format: Format::F32, data }
}

/// Every size at which the code takes another path: few rows, whole and partial tiles; whole and partial groups and panels;
/// one and several parts of the inputs; more threads than groups.
#[test]
fn multiplies_as_the_definition_says() {
    let sizes = [(32, 5), (64, 16), (96, 150), (1600, 70)];
    for ((inputs, outputs), rows) in sizes.into_iter().flat_map(|size| [1, 3, 4, 6, 13].map(|rows| (size, rows))) {
        let weights = floats(outputs, inputs, 3);
        let layer = Linear::pack("test", &[matrix(outputs, inputs, &weights)], Storage::AsStored).unwrap();
        let values = matrix(rows, inputs, &floats(rows, inputs, 77)).to_f32();
        let weights = matrix(outputs, inputs, &weights).to_f32();
        for (simd, threads) in Simd::all().into_iter().flat_map(|simd| [1, 2, 5].map(|threads| (simd, threads))) {
            let mut found = vec![f32::NAN; rows * outputs];
            layer.apply((simd, &mut Team::new(threads), &mut Scratch::default()), &values, &mut found);
            for (at, found) in found.iter().enumerate() {
                let (row, weights) = (&values[at / outputs * inputs..], &weights[at % outputs * inputs..]);
                let expected: f64 = row[..inputs].iter().zip(weights).map(|(x, w)| f64::from(*x) * f64::from(*w)).sum();
                let error = (f64::from(*found) - expected).abs();
                assert!(error < 1e-4, "{simd:?}, {threads} threads, {rows} x {inputs} x {outputs}, {at}: {error}");
            }
        }
    }
}

#[test]
fn stacks_matrices_and_reads_their_rows() {
    let (first, second) = (floats(20, 64, 1), floats(3, 64, 2));
    let matrices = [matrix(20, 64, &first), matrix(3, 64, &second)];
    let layer = Linear::pack("test", &matrices, Storage::AsStored).unwrap();
    let mut row = vec![0.0; 64];
    assert!(layer.read_row(21, &mut row));
    assert_eq!(row, matrices[1].to_f32()[64..128]);
    assert!(!layer.read_row(23, &mut row) && !layer.read_row(0, &mut row[1..]));
    assert_eq!(layer.outputs(), 23);
}

#[test]
fn keeps_floats_in_the_storage_that_is_asked_for() {
    let weights = floats(16, 64, 1);
    let cases = [(Storage::AsStored, 4096), (Storage::EightBit, 2 * (512 + 32)), (Storage::FourBit, 2 * (256 + 64))];
    for (storage, least) in cases {
        let layer = Linear::pack("test", &[matrix(16, 64, &weights)], storage).unwrap();
        // Blocks are padded to whole cache lines.
        assert!((least..=least + 2 * 63).contains(&layer.weight_bytes()), "{storage:?}: {}", layer.weight_bytes());
    }
    let mixed = [matrix(16, 64, &weights), Matrix { rows: 1, row_len: 64, format: Format::Q8_0, data: &[0; 68] }];
    assert_eq!(kind(&mixed, Storage::FourBit), Kind::Full);
}

#[test]
fn keeps_mixtures_of_quantised_weights_in_8_bits() {
    let of = |format| Matrix { rows: 0, row_len: 256, format, data: &[] };
    let cases = [
        (&[Format::Q4_0, Format::Q4_0][..], Kind::FourBit),
        (&[Format::Q4K, Format::Q4_0], Kind::FourBit),
        (&[Format::Q4K, Format::Q6K], Kind::EightBit),
        (&[Format::Q4_0, Format::Q5_0, Format::Q8_0], Kind::EightBit),
        (&[Format::Q4_1, Format::Q6K], Kind::Full),
        (&[Format::F16, Format::Q6K], Kind::Full),
    ];
    for (formats, expected) in cases {
        let matrices: Vec<_> = formats.iter().copied().map(of).collect();
        assert_eq!(kind(&matrices, Storage::AsStored), expected, "{formats:?}");
    }
}

/// Super-blocks are found in rows of several.
#[test]
fn reads_rows_of_super_blocks() {
    let data: Vec<u8> = (0..2 * 3 * 144).map(|at| if at % 144 < 4 { 0x28 } else { (at * 89 % 251) as u8 }).collect();
    let matrix = Matrix { rows: 2, row_len: 3 * 256, format: Format::Q4K, data: &data };
    let layer = Linear::pack("test", &[matrix], Storage::AsStored).unwrap();
    let (mut found, mut expected) = (vec![0.0; 768], vec![0.0; 768]);
    assert!(layer.read_row(1, &mut found) && matrix.read_row(1, &mut expected));
    let worst = found.iter().zip(&expected).map(|(found, expected)| (found - expected).abs()).fold(0.0, f32::max);
    let largest = expected.iter().fold(0.0_f32, |largest, weight| largest.max(weight.abs()));
    assert!(largest > 10.0 && worst < largest / 1000.0, "off by {worst} of {largest}");
}

#[test]
fn refuses_matrices_that_do_not_fit() {
    let weights = floats(2, 64, 1);
    let nan: Vec<u8> = [f32::NAN; 32].iter().flat_map(|value| value.to_le_bytes()).collect();
    let cases: [(&[Matrix<'_>], &str); 5] = [
        (&[], "found "),
        (&[matrix(2, 63, &weights)], "found [2, 63]"),
        (&[matrix(3, 64, &weights)], "found [3, 64]"),
        (&[matrix(2, 64, &weights), matrix(4, 32, &weights)], "found [2, 64], [4, 32]"),
        (&[matrix(1, 32, &nan)], "expected finite weights, found one that is not"),
    ];
    for (matrices, expected) in cases {
        let error = Linear::pack("test", matrices, Storage::AsStored).unwrap_err().to_string();
        assert!(error.starts_with("weights of test: expected ") && error.ends_with(expected), "{error}");
    }
}
