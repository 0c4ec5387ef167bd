use super::{
    super::head::{Column, VALUE_MAX, arrange},
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
    arrange(simd, std::slice::from_mut(&mut head), 0, (&qkv, dim));
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
        let scores = scores.chunks(PANEL_OUTPUTS).map(|scores| f64::from(scores[query]));
        let greatest = scores.clone().fold(f64::NEG_INFINITY, f64::max);
        let weights = scores.map(|score| (score - greatest).exp2());
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
        for (at, (found, expected)) in found.iter().zip(&expected).enumerate() {
            let error = (f64::from(*found) - expected).abs();
            assert!(error <= tolerance, "{name}, {simd:?} [{at}]: {found} is not {expected}");
        }
    }
}

/// Values go from -1 to 1, so that one is rounded by 3.7e-4 at most.
#[test]
fn every_level_mixes_as_floats_do() {
    let sizes = [(1, 1), (2, 8), (95, 7), (96, 18), (97, 64), (301, 9), (1024, 64)];
    for (patches, dim) in sizes {
        let values = noise(patches * dim, 1);
        for spread in [0.0, 1.0, 12.0, 3000.0] {
            let scores: Vec<f32> = noise(patches * PANEL_OUTPUTS, 2).iter().map(|score| score * spread).collect();
            assert_mixture(&format!("{patches} x {dim}, {spread}"), (&values, dim), &scores, 4e-4);
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
    values = values.into_iter().map(|value| -value).collect();
    assert_mixture("minus ones", (&values, 1), &scores, 1e-6);
    // Neighbouring floats: their middle is one of them.
    values = values.into_iter().map(|value| f32::from_bits(1e6_f32.to_bits() + u32::from(value > 0.0))).collect();
    assert_mixture("neighbours", (&values, 1), &scores, 0.07);
    let greatest = BLOCK_PATCHES as u64 * u64::from(WEIGHT_MAX) * u64::from(VALUE_MAX);
    assert!((1 << 30..1 << 31).contains(&greatest), "{greatest}");
}

#[test]
fn a_column_of_one_value_stays_what_it_is() {
    for (simd, value) in Simd::all().into_iter().flat_map(|simd| [0.0, -3.7, 1e-40, 3e38].map(|value| (simd, value))) {
        let head = head(simd, &[value; 150], 1);
        let [Column { step: 0.0, middle }] = head.columns[..] else { panic!("{:?}", head.columns) };
        assert_eq!(middle.to_bits(), value.to_bits(), "{middle} is not {value}");
        let mixed = mix(simd, &head, &noise(150 * PANEL_OUTPUTS, 5));
        assert!(mixed.iter().all(|mixed| mixed.to_bits() == value.to_bits()), "{simd:?}: {mixed:?} is not {value}");
    }
}

/// Attention as a whole, in heads of no whole tile, shares of threads and of no whole panel: what is left of the error is that of
/// queries and keys in 8 bits.
#[test]
fn attends_as_floats_do() {
    let (patches, rows, heads, dim) = (150, 45, 3, 18);
    let hidden = heads * dim;
    let qkv: Vec<f32> = noise(patches * 3 * hidden, 6).iter().map(|value| value * 2.0 + 0.5).collect();
    for simd in Simd::all() {
        let mut arranged: Vec<Head> = (0..heads).map(|_| Head::new(patches, dim)).collect();
        let (first, last) = arranged.split_at_mut(2);
        arrange(simd, first, 0, (&qkv, hidden));
        arrange(simd, last, 2, (&qkv, hidden));
        let mut mixed = vec![f32::NAN; rows * hidden];
        Attention::new(rows, (heads, dim)).attend(simd, &arranged, &qkv[..rows * 3 * hidden], &mut mixed);
        for (at, found) in mixed.iter().enumerate() {
            let expected = attended(&qkv, (at / hidden, at % hidden), (hidden, dim));
            assert!((f64::from(*found) - expected).abs() < 0.01, "{simd:?} [{at}]: {found} is not {expected}");
        }
    }
}

/// Returns what a row attends to in one column, in `f64`.
fn attended(qkv: &[f32], (row, column): (usize, usize), (hidden, dim): (usize, usize)) -> f64 {
    let rows = || qkv.chunks(3 * hidden);
    let head = column / dim * dim;
    let query = &qkv[row * 3 * hidden + head..][..dim];
    let score = |row: &[f32]| {
        let products = query.iter().zip(&row[hidden + head..]).map(|(a, b)| f64::from(*a) * f64::from(*b));
        products.sum::<f64>() / (dim as f64).sqrt()
    };
    let weights: Vec<f64> = rows().map(|row| score(row).exp()).collect();
    let products = rows().zip(&weights).map(|(row, weight)| f64::from(row[2 * hidden + column]) * weight);
    products.sum::<f64>() / weights.iter().sum::<f64>()
}
