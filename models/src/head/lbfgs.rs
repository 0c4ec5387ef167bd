//! The minimum of a smooth convex function of many variables: limited-memory BFGS (Nocedal and Wright, Numerical Optimization,
//! algorithms 7.4 and 7.5) with a line search by halving (their algorithm 3.1), which is enough where the function is convex.

use std::collections::VecDeque;

/// Steps that the curvature is estimated from.
const MEMORY: usize = 10;
/// A logistic regression with a penalty takes thirty to a hundred.
const MOST_STEPS: usize = 300;
/// Done when the slope is this small beside the point.
const TOLERANCE: f64 = 1e-5;
/// A step must lower the value by this share of what the slope promises.
const SUFFICIENT_DECREASE: f64 = 1e-4;
/// Halvings after which only rounding errors are left to be gained.
const MOST_HALVINGS: usize = 20;

/// A place, with the value and the gradient there.
struct Place {
    point: Vec<f64>,
    value: f64,
    gradient: Vec<f64>,
}

/// A step that was taken and how the gradient changed over it.
struct Pair {
    step: Vec<f64>,
    change: Vec<f64>,
    /// `1 / (step * change)`.
    inverse: f64,
}

/// Returns the point of the least value of `function`, which returns value and gradient; `watch` sees the start and every point that is
/// reached, with its value.
pub(super) fn minimum(
    start: Vec<f64>,
    function: impl Fn(&[f64]) -> (f64, Vec<f64>),
    mut watch: impl FnMut(&[f64], f64),
) -> Vec<f64> {
    let (value, gradient) = function(&start);
    let mut place = Place { point: start, value, gradient };
    let mut pairs = VecDeque::with_capacity(MEMORY);
    watch(&place.point, place.value);
    for _ in 0..MOST_STEPS {
        if norm(&place.gradient) <= TOLERANCE * norm(&place.point).max(1.0) {
            break;
        }
        let direction = direction(&place.gradient, &pairs);
        let Some(next) = search(&place, &direction, first_length(&pairs, &direction), &function) else { break };
        watch(&next.point, next.value);
        remember(&mut pairs, &place, &next);
        place = next;
    }
    place.point
}

/// Returns where to go: minus the gradient times the inverse of the curvature, as far as `pairs` tell it.
fn direction(gradient: &[f64], pairs: &VecDeque<Pair>) -> Vec<f64> {
    let mut direction: Vec<f64> = gradient.iter().map(|slope| -slope).collect();
    let mut shares = Vec::with_capacity(pairs.len());
    for pair in pairs.iter().rev() {
        let share = pair.inverse * dot(&pair.step, &direction);
        add(&mut direction, -share, &pair.change);
        shares.push(share);
    }
    if let Some(last) = pairs.back() {
        let scale = 1.0 / (last.inverse * dot(&last.change, &last.change));
        for value in &mut direction {
            *value *= scale;
        }
    }
    for (pair, share) in pairs.iter().zip(shares.into_iter().rev()) {
        let back = pair.inverse * dot(&pair.change, &direction);
        add(&mut direction, share - back, &pair.step);
    }
    direction
}

/// Returns how much of `direction` to try first: as long as nothing is known about the curvature, a step of length one.
fn first_length(pairs: &VecDeque<Pair>, direction: &[f64]) -> f64 {
    if pairs.is_empty() { 1.0 / norm(direction) } else { 1.0 }
}

/// Returns the first place along `direction` that is low enough, at `length` times it, half of that and so on; `None` where
/// none is.
fn search(
    place: &Place,
    direction: &[f64],
    mut length: f64,
    function: impl Fn(&[f64]) -> (f64, Vec<f64>),
) -> Option<Place> {
    let slope = dot(&place.gradient, direction);
    for _ in 0..MOST_HALVINGS {
        let mut point = place.point.clone();
        add(&mut point, length, direction);
        let (value, gradient) = function(&point);
        if value <= place.value + SUFFICIENT_DECREASE * length * slope {
            return Some(Place { point, value, gradient });
        }
        length /= 2.0;
    }
    None
}

fn remember(pairs: &mut VecDeque<Pair>, from: &Place, to: &Place) {
    let difference = |to: &[f64], from: &[f64]| to.iter().zip(from).map(|(to, from)| to - from).collect::<Vec<_>>();
    let (step, change) = (difference(&to.point, &from.point), difference(&to.gradient, &from.gradient));
    let curvature = dot(&step, &change);
    // Rounding can hide the curvature of a convex function on a very short step.
    if curvature > f64::EPSILON * dot(&change, &change) {
        if pairs.len() == MEMORY {
            pairs.pop_front();
        }
        pairs.push_back(Pair { step, change, inverse: 1.0 / curvature });
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn norm(values: &[f64]) -> f64 {
    dot(values, values).sqrt()
}

fn add(values: &mut [f64], factor: f64, other: &[f64]) {
    values.iter_mut().zip(other).for_each(|(value, other)| *value += factor * other);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_minimum_of_a_quadratic_with_unlike_curvatures() {
        let curvature = |i: usize| 10.0_f64.powf(i as f64 * 0.1);
        let function = |x: &[f64]| {
            let off: Vec<f64> = x.iter().enumerate().map(|(i, x)| x - i as f64).collect();
            let value = off.iter().enumerate().map(|(i, d)| 0.5 * curvature(i) * d * d).sum();
            (value, off.iter().enumerate().map(|(i, d)| curvature(i) * d).collect())
        };
        let mut values = Vec::new();
        let found = minimum(vec![0.0; 20], function, |_, value| values.push(value));
        for (index, x) in found.iter().enumerate() {
            assert!((x - index as f64).abs() < 1e-2, "{index}: {x}");
        }
        assert!(values.windows(2).all(|pair| pair[1] < pair[0]) && values.len() < 60, "{} steps", values.len());
    }

    #[test]
    fn stays_where_nothing_can_be_gained() {
        let found = minimum(vec![0.0; 3], |x| (dot(x, x), x.iter().map(|x| 2.0 * x).collect()), |_, _| {});
        assert_eq!(found, [0.0; 3]);
        // A gradient that lies: no step lowers the value.
        let found = minimum(vec![1.0], |x| (-x[0], vec![1.0]), |_, _| {});
        assert_eq!(found, [1.0]);
    }
}
