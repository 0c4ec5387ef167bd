use std::thread;

/// Threads that work while a bank is made.
pub(super) const THREADS: usize = 2;

/// Returns what is `made` of each number in `0..count`, in their order, [`THREADS`] at a time.
///
/// # Panics
/// When `made` does.
pub(super) fn each<T: Send>(count: usize, made: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let mut all = Vec::with_capacity(count);
    for first in (0..count).step_by(THREADS) {
        thread::scope(|scope| {
            let made = &made;
            let workers: Vec<_> =
                (first..count.min(first + THREADS)).map(|number| scope.spawn(move || made(number))).collect();
            all.extend(workers.into_iter().map(|worker| worker.join().expect("making does not panic")));
        });
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_keeps_its_order() {
        for count in [0, 1, 2, 5] {
            assert_eq!(
                each(count, |number| number * number),
                (0..count).map(|number| number * number).collect::<Vec<_>>()
            );
        }
    }
}
