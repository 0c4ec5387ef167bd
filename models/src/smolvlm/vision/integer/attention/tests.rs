use super::{
    super::head::{Column, VALUE_MAX},
    *,
};

/// Returns numbers from -1 to 1.
fn noise(len: usize, mut state: u32) -> Vec<f32> {
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..len).map(|_| next()).collect()
}

/// Returns a head of `values`, `[patches, dim]`, whose keys are zero.
fn head(simd: Simd, values: &[f32], dim: usize) -> Head {
    let mut head = Head::new(values.len() / dim, dim);
    let qkv: Vec<f32> = values.chunks(dim).flat_map(|values| [&vec![0.0; 2 * dim], values].concat()).collect();
    head.arrange(simd, &qkv, (0, dim));
    head
}

/// Mixes the values of `head` by `scores`, `[patches, 32]`, exponents of 2. `[32, dim]`.
fn mix(simd: Simd, head: &Head, scores: &[f32]) -> Vec<f32> {
    let dim = head.columns.len();
    let mut mixture = Mixture::new(dim);
    // What another panel left behind is not seen.
    mixture.sums.fill([Lanes([f32::NAN; LANES]); GROUPS]);
    mixture.weights.fill([Words([u32::MAX; LANES]); GROUPS]);
    mixture.clear();
    for (block, scores) in head.blocks.iter().zip(scores.chunks(BLOCK_PATCHES * PANEL_OUTPUTS)) {
        simd.run(Mix { scores, block, mixture: &mut mixture });
    }
    let mut mixed = vec![0.0; PANEL_OUTPUTS * dim];
    mixed.chunks_mut(dim).enumerate().for_each(|(query, out)| mixture.write(head, query, out));
    mixed
}

/// As [`mix`], in `f64`.
fn exact(values: &[f32], dim: usize, scores: &[f32]) -> Vec<f64> {
    let mixed = |query: usize, column: usize| {
        let weights = scores.chunks(PANEL_OUTPUTS).map(|scores| f64::from(scores[query]).exp2());
        let products = weights.clone().zip(values.chunks(dim)).map(|(weight, row)| weight * f64::from(row[column]));
        products.sum::<f64>() / weights.sum::<f64>()
    };
    (0..PANEL_OUTPUTS).flat_map(|query| (0..dim).map(move |column| mixed(query, column))).collect()
}

/// Asserts that no mixed value differs by more than `tolerance` from what it is in `f64`.
fn assert_mixture(name: &str, (values, dim): (&[f32], usize), scores: &[f32], tolerance: f64) {
    let expected = exact(values, dim, scores);
    for simd in Simd::all() {
        let found = mix(simd, &head(simd, values, dim), scores);
        let errors = found.iter().zip(&expected).map(|(found, expected)| (f64::from(*found) - expected).abs());
        let worst = errors.fold(0.0, f64::max);
        assert!(worst <= tolerance, "{name}, {simd:?}: off by {worst}");
    }
}

/// Values go from -1 to 1, so that one is rounded by 5e-4 at most.
#[test]
fn every_level_mixes_as_floats_do() {
    let sizes = [(1, 1), (2, 8), (131, 7), (132, 18), (133, 64), (301, 9), (1024, 64)];
    for (patches, dim) in sizes {
        let values = noise(patches * dim, 1);
        for spread in [0.0, 1.0, 12.0, 3000.0] {
            let scores: Vec<f32> = noise(patches * PANEL_OUTPUTS, 2).iter().map(|score| score * spread).collect();
            assert_mixture(&format!("{patches} x {dim}, {spread}"), (&values, dim), &scores, 6e-4);
        }
    }
}

/// Half of the weight is one patch's, wherever it stands; the other half is shared by patches of 1/1024 of its weight, 16 steps,
/// more or less. Half a step each at worst, of random sign, makes 2e-4 of what is mixed.
#[test]
fn small_weights_beside_a_great_one_keep_their_share() {
    let (patches, dim) = (1025, 5);
    let values: Vec<f32> = noise(patches * dim, 3).iter().map(|value| value.abs()).collect();
    for (sink, jitter, tolerance) in [0, 500, 1024].into_iter().flat_map(|sink| [(sink, 0.0, 1e-4), (sink, 0.3, 1e-3)])
    {
        let mut values = values.clone();
        values[sink * dim..][..dim].fill(-1.0);
        let scores = noise(patches * PANEL_OUTPUTS, 4).into_iter().enumerate();
        let score = |(at, noise)| if at / PANEL_OUTPUTS == sink { 100.0 } else { 90.0 + jitter * noise };
        let scores: Vec<f32> = scores.map(score).collect();
        assert_mixture(&format!("{sink}, {jitter}"), (&values, dim), &scores, tolerance);
    }
}

#[test]
fn the_greatest_sums_fit_32_bits() {
    let mut values = vec![1.0; BLOCK_PATCHES + 1];
    values[BLOCK_PATCHES] = -1.0;
    let scores = vec![7.5; values.len() * PANEL_OUTPUTS];
    assert_mixture("ones", (&values, 1), &scores, 1e-6);
    values.iter_mut().for_each(|value| *value = -*value);
    assert_mixture("minus ones", (&values, 1), &scores, 1e-6);
    // Neighbouring floats: their middle is one of them.
    values.iter_mut().for_each(|value| *value = f32::from_bits(1e6_f32.to_bits() + u32::from(*value > 0.0)));
    assert_mixture("neighbours", (&values, 1), &scores, 0.07);
    let greatest = BLOCK_PATCHES as i64 * i64::from(WEIGHT_MAX) * i64::from(VALUE_MAX);
    assert!(greatest <= i64::from(i32::MAX) && greatest > i64::from(i32::MAX) / 2, "{greatest}");
}

#[test]
fn a_column_of_one_value_stays_what_it_is() {
    for (simd, value) in Simd::all().into_iter().flat_map(|simd| [0.0, -3.7, 1e-40, 3e38].map(|value| (simd, value))) {
        let head = head(simd, &[value; 150], 1);
        assert!(matches!(head.columns[..], [Column { step: 0.0, middle }] if middle == value), "{:?}", head.columns);
        let mixed = mix(simd, &head, &noise(150 * PANEL_OUTPUTS, 5));
        assert_eq!(mixed, [value; PANEL_OUTPUTS], "{simd:?}");
    }
}

/// Attention as a whole: what is left of the error is that of queries and keys, in 8 bits.
#[test]
fn attends_as_floats_do() {
    let (patches, heads, dim) = (150, 2, 18);
    let hidden = heads * dim;
    let qkv: Vec<f32> = noise(patches * 3 * hidden, 6).iter().map(|value| value * 2.0 + 0.5).collect();
    for (simd, index) in Simd::all().into_iter().flat_map(|simd| [(simd, 0), (simd, 1)]) {
        let mut head = Head::new(patches, dim);
        head.arrange(simd, &qkv, (index, hidden));
        // A share of patches that is no whole panel.
        let queries = &qkv[..45 * 3 * hidden];
        let mut mixed = vec![f32::NAN; 45 * hidden];
        Attention::new(dim).attend(simd, &head, (queries, index), (&mut mixed, hidden));
        let part = |row: usize, part: usize| &qkv[row * 3 * hidden + part * hidden + index * dim..][..dim];
        let values: Vec<f32> = (0..patches).flat_map(|row| part(row, 2).to_vec()).collect();
        for (first, mixed) in mixed.chunks(PANEL_OUTPUTS * hidden).enumerate() {
            let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
            let factor = std::f32::consts::LOG2_E / (dim as f32).sqrt();
            let query = |query: usize| part((first * PANEL_OUTPUTS + query).min(44), 0);
            let scores = (0..patches).flat_map(|key| (0..PANEL_OUTPUTS).map(move |at| (key, at)));
            let scores: Vec<f32> = scores.map(|(key, at)| factor * dot(query(at), part(key, 1))).collect();
            let expected = exact(&values, dim, &scores);
            for (row, expected) in mixed.chunks(hidden).zip(expected.chunks(dim)) {
                let errors = row[index * dim..][..dim].iter().zip(expected).map(|(a, b)| (f64::from(*a) - b).abs());
                let worst = errors.fold(0.0, f64::max);
                assert!(worst < 0.02, "{simd:?} head {index}: off by {worst}");
            }
        }
    }
}
