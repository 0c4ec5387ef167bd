use super::*;

/// Classes 0, 1 and 2 in shares of 2 : 2 : 1; feature `j` is higher in class `j`.
fn examples(count: usize, offset: usize) -> Examples {
    let labels: Vec<usize> = (0..count).map(|i| i * 7 % 10 / 4).collect();
    let feature = |i: usize, j: usize| {
        let wave = (1.3 * ((i + offset) * (j + 1)) as f64 + j as f64).sin();
        (wave + if labels[i] == j { 0.9 } else { 0.0 }) as f32
    };
    let descriptions: Vec<Vec<f32>> = (0..count).map(|i| (0..4).map(|j| feature(i, j)).collect()).collect();
    Examples::new(&descriptions, labels).unwrap()
}

/// Expectations by scikit-learn: `LogisticRegression(C=1 / (2 * strength), tol=1e-12)` with the shares of [`Objective`] as
/// sample weights, on the same standardised features and over the same temperatures.
#[test]
fn fits_as_the_reference_does() {
    let expected = [
        (1.0, 0.25, 0.919_959),
        (0.3, 0.378_929, 0.886_106),
        (0.1, 0.671_286, 0.872_522),
        (0.03, 1.0, 0.861_948),
        (0.01, 1.274_561, 0.857_548),
        (0.003, 1.489_677, 0.856_246),
        (0.001, 1.569_168, 0.856_091),
        (0.000_3, 1.596_597, 0.856_106),
        (0.000_1, 1.624_505, 0.856_107),
    ];
    let fit = fit(&examples(40, 0), &examples(20, 100), 3).unwrap();
    for (choice, (strength, temperature, loss)) in fit.choices().iter().zip(expected) {
        assert!((choice.strength - strength).abs() < f64::EPSILON);
        // A neighbouring temperature of the 161 is as good to the sixth digit.
        assert!((choice.temperature / temperature - 1.0).abs() < 0.02, "{choice:?}, expected {temperature}");
        assert!((choice.validation_loss - loss).abs() < 2e-5, "{choice:?}, expected {loss}");
    }
    let least = fit.choices().iter().map(|choice| choice.validation_loss).fold(f64::INFINITY, f64::min);
    let taken = fit.choices().iter().find(|choice| choice.strength.to_bits() == fit.strength.to_bits()).unwrap();
    assert!(taken.validation_loss <= least && taken.temperature.to_bits() == fit.temperature.to_bits());
    let (first, last) = (fit.curve()[0], fit.curve()[fit.curve().len() - 1]);
    assert!((first.train - 3.0_f64.ln()).abs() < 1e-6 && last.train < first.train, "{first:?} {last:?}");
}

/// The same reference, fitted to all sixty examples under one of the four weakest penalties and at its temperature: which of
/// them is the best by the sixth digit does not matter for a probability.
#[test]
fn the_head_is_fitted_to_both_parts_and_judged_by_one() {
    let (train, validation) = (examples(40, 0), examples(20, 100));
    let fit = fit(&train, &validation, 3).unwrap();
    let query = fit.standard.applied(&Matrix::new(vec![0.5, -0.2, 0.9, 0.1], 4));
    let found = log_softmax(fit.linear.logits(&query).row(0), fit.temperature);
    for (found, expected) in found.into_iter().map(f64::exp).zip([0.4532, 0.1065, 0.4403]) {
        assert!((found - expected).abs() < 3e-3, "{found}, expected {expected}");
    }
    let losses = fit.unseen().iter().zip(&validation.labels).map(|(probabilities, &label)| -probabilities[label].ln());
    let least = fit.choices().iter().map(|choice| choice.validation_loss).fold(f64::INFINITY, f64::min);
    assert!((losses.sum::<f64>() / 20.0 - least).abs() < 1e-9);
}

#[test]
fn the_same_examples_give_the_same_head() {
    let fitted = || fit(&examples(40, 0), &examples(20, 100), 3).unwrap();
    assert_eq!(fitted().linear, fitted().linear);
}

#[test]
fn a_validation_part_without_a_mistake_leaves_the_temperature_alone() {
    let logits = Matrix::new(vec![3.0, 0.0, 0.0, 1.0], 2);
    assert!((temperature(&logits, &[0, 1]) - 1.0).abs() < f64::EPSILON);
    // Two sure answers of which one is wrong: as unsure as can be.
    assert!((temperature(&Matrix::new(vec![3.0, 0.0, 3.0, 0.0], 2), &[0, 1]) - 4.0).abs() < 1e-9);
}

#[test]
fn refuses_examples_that_do_not_fit() {
    let two = |labels: &[usize]| Examples::new(&[vec![0.0], vec![1.0]], labels.to_vec()).unwrap();
    let wide = Examples::new(&[vec![0.0, 1.0]], vec![0]).unwrap();
    let cases = [
        (fit(&two(&[0, 2]), &two(&[0, 1]), 2).err(), "labels of the training part: expected classes below 2, found 2"),
        (
            fit(&two(&[0, 1]), &two(&[0, 2]), 2).err(),
            "labels of the validation part: expected classes below 2, found 2",
        ),
        (fit(&two(&[0, 0]), &two(&[0, 1]), 2).err(), "training part: expected examples of class 1, found none"),
        (fit(&two(&[0, 1]), &wide, 2).err(), "validation part: expected 1 features, found 2"),
        (
            Examples::new(&[vec![0.0], vec![1.0, 2.0]], vec![0, 1]).err(),
            "description of a frame: expected 1 numbers, found 2",
        ),
        (Examples::new(&[vec![f32::NAN]], vec![0]).err(), "description of a frame: expected finite numbers, found NaN"),
        (
            Examples::new(&[vec![0.0]], vec![]).err(),
            "examples: expected one description or more, each with its class, found 1 and 0 classes",
        ),
        (
            Examples::new(&[], vec![]).err(),
            "examples: expected one description or more, each with its class, found 0 and 0 classes",
        ),
    ];
    for (error, expected) in cases {
        assert_eq!(error.map(|error| error.to_string()).as_deref(), Some(expected));
    }
}
