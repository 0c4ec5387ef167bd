use super::*;
use crate::kernels::Simd;

fn values(len: usize, seed: u32) -> Vec<f32> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 0.75
    };
    (0..len).map(|_| next()).collect()
}

/// A layer of weights that 8 bits hold exactly, as `f64` too: whole numbers with 127 among them, times a scale for each output.
fn layer(simd: Simd, inputs: usize, outputs: usize) -> (IntegerLinear, Vec<Vec<f64>>) {
    let mut layer = IntegerLinear::zeros(inputs, outputs);
    let rows = (0..outputs).map(|output| {
        let scale = [1.0, 0.5, 0.25, 0.125][output % 4];
        let weights = values(inputs, output as u32).into_iter().map(|value| (value * 100.0).round() * scale);
        let weights: Vec<f32> = weights.chain([127.0 * scale]).skip(1).collect();
        layer.set(simd, output, &weights, output as f32);
        weights.into_iter().map(f64::from).collect()
    });
    let rows = rows.collect();
    (layer, rows)
}

/// Rows that 8 bits hold exactly: bytes with 0 and 255 among them, times a scale and shifted for each row.
fn rows(simd: Simd, inputs: usize, count: usize) -> (IntegerRows, Vec<Vec<f64>>) {
    let mut rounded = IntegerRows::new(count, inputs);
    let rows = (0..count).map(|row| {
        let (scale, low) = ([1.0, 0.25, 0.0625][row % 3], row as f32 - 3.0);
        let bytes = values(inputs, 1000 + row as u32).into_iter().map(|value| ((value + 0.75) * 127.0).round());
        let values: Vec<f32> = bytes.chain([0.0, 255.0]).skip(2).map(|byte| byte * scale + low).collect();
        rounded.set(simd, row, &values);
        values.into_iter().map(f64::from).collect()
    });
    let rows = rows.collect();
    (rounded, rows)
}

fn assert_products(simd: Simd, [inputs, outputs, count]: [usize; 3]) {
    let ((layer, weights), (rounded, rows)) = (layer(simd, inputs, outputs), rows(simd, inputs, count));
    let (mut set, mut added) = (vec![f32::NAN; count * outputs], vec![0.5; count * outputs]);
    layer.apply::<Set>(simd, &rounded, &mut set);
    layer.apply::<Add>(simd, &rounded, &mut added);
    for (index, (set, added)) in set.into_iter().zip(added).enumerate() {
        let (row, output) = (&rows[index / outputs], index % outputs);
        let expected = row.iter().zip(&weights[output]).map(|(a, b)| a * b).sum::<f64>() + output as f64;
        let tolerance = 1e-5 * row.iter().zip(&weights[output]).map(|(a, b)| (a * b).abs()).sum::<f64>().max(1.0);
        let errors = [f64::from(set) - expected, f64::from(added) - 0.5 - expected];
        let case = format!("{simd:?} {inputs} x {outputs}, {index}");
        assert!(errors.iter().all(|error| error.abs() <= tolerance), "{case}: {errors:?} off {expected}");
    }
}

#[test]
fn products_of_what_8_bits_hold_are_exact() {
    for simd in Simd::all() {
        for sizes in [[4, 1, 1], [2, 3, 2], [16, 33, 13], [768, 64, 24], [37, 70, 11]] {
            assert_products(simd, sizes);
        }
    }
}

#[test]
fn every_level_cuts_what_lies_outside_of_a_given_range() {
    for simd in Simd::all() {
        let (mut rows, mut layer) = (IntegerRows::new(1, 20), IntegerLinear::zeros(20, 20));
        for output in 0..20 {
            let unit: Vec<f32> = (0..20).map(|input| if input == output { 1.0 } else { 0.0 }).collect();
            layer.set(simd, output, &unit, 0.0);
        }
        let mut row = [0.5; 20];
        (row[0], row[1], row[2], row[17], row[19]) = (-3.0, 7.0, 1.0, 3000.0, -1e9);
        rows.set_within(simd, 0, Range { scale: 3.0 / 255.0, low: -1.0 }, &row);
        let mut out = [0.0; 20];
        layer.apply::<Set>(simd, &rows, &mut out);
        for (found, value) in out.iter().zip(row) {
            assert!((found - value.clamp(-1.0, 2.0)).abs() <= 1.5 / 255.0 + 1e-6, "{simd:?}: {out:?}");
        }
    }
}

#[test]
fn every_level_rounds_to_the_nearest_step() {
    for simd in Simd::all() {
        let (mut rows, mut layer) = (IntegerRows::new(1, 8), IntegerLinear::zeros(8, 8));
        let row = [-1.0, 4.1, 0.004, 0.0, 2.0, 3.3, -0.7, 1.23];
        rows.set(simd, 0, &row);
        for output in 0..8 {
            let unit: Vec<f32> = (0..8).map(|input| if input == output { 1.0 } else { 0.0 }).collect();
            layer.set(simd, output, &unit, 0.0);
        }
        let mut out = [0.0; 8];
        layer.apply::<Set>(simd, &rows, &mut out);
        let half_step = 5.1 / 255.0 / 2.0 + 1e-6;
        for (found, expected) in out.iter().zip(row) {
            assert!((found - expected).abs() <= half_step, "{simd:?}: {out:?}");
        }
    }
}

#[test]
fn rows_and_weights_of_one_value_stay_what_they_are() {
    let simd = Simd::detect();
    for value in [0.0, -2.5, 1e-40] {
        let (mut rows, mut layer) = (IntegerRows::new(1, 4), IntegerLinear::zeros(4, 1));
        rows.set(simd, 0, &[value; 4]);
        layer.set(simd, 0, &[value; 4], 1.0);
        let mut out = [0.0];
        layer.apply::<Set>(simd, &rows, &mut out);
        assert!((out[0] - (4.0 * value * value + 1.0)).abs() < 1e-5, "{value}: {out:?}");
    }
}
