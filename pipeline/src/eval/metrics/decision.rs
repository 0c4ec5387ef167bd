use serde::Serialize;

/// What one image really is and what became of it at the deployed threshold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decided {
    /// Whether the image shows a defect.
    pub is_defect: bool,
    /// Whether it was rejected.
    pub is_rejected: bool,
}

/// Counts of good and defective images by what became of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Outcomes {
    /// Good images that passed.
    pub good_passed: usize,
    /// Good images that were rejected: overkill.
    pub good_rejected: usize,
    /// Defective images that passed: escapes.
    pub defective_passed: usize,
    /// Defective images that were rejected.
    pub defective_rejected: usize,
}

fn ratio(part: usize, whole: usize) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

impl Outcomes {
    /// Returns the number of good images.
    pub const fn n_good(&self) -> usize {
        self.good_passed + self.good_rejected
    }

    /// Returns the number of defective images.
    pub const fn n_defective(&self) -> usize {
        self.defective_passed + self.defective_rejected
    }

    /// Returns the share of defective images that passed, 0..=1; `None` without defective images.
    pub fn escape_rate(&self) -> Option<f64> {
        ratio(self.defective_passed, self.n_defective())
    }

    /// Returns the share of good images that were rejected, 0..=1; `None` without good images.
    pub fn overkill_rate(&self) -> Option<f64> {
        ratio(self.good_rejected, self.n_good())
    }

    /// Returns the share of images that were judged rightly, 0..=1; `None` without images.
    pub fn accuracy(&self) -> Option<f64> {
        ratio(self.good_passed + self.defective_rejected, self.n_good() + self.n_defective())
    }

    /// Returns the counts as a confusion matrix of the classes `good` and `defect`.
    pub fn confusion(&self) -> Confusion {
        Confusion {
            classes: vec!["good".to_owned(), "defect".to_owned()],
            counts: vec![
                vec![self.good_passed, self.good_rejected],
                vec![self.defective_passed, self.defective_rejected],
            ],
        }
    }
}

impl FromIterator<Decided> for Outcomes {
    fn from_iter<T: IntoIterator<Item = Decided>>(decided: T) -> Self {
        let mut outcomes = Self::default();
        for Decided { is_defect, is_rejected } in decided {
            let slot = match (is_defect, is_rejected) {
                (false, false) => &mut outcomes.good_passed,
                (false, true) => &mut outcomes.good_rejected,
                (true, false) => &mut outcomes.defective_passed,
                (true, true) => &mut outcomes.defective_rejected,
            };
            *slot += 1;
        }
        outcomes
    }
}

/// How often each class was taken for each other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Confusion {
    /// Names, in the order of rows and columns.
    pub classes: Vec<String>,
    /// `[truth, said]`.
    pub counts: Vec<Vec<usize>>,
}

impl Confusion {
    /// Returns an empty matrix over `classes`.
    pub fn new(classes: Vec<String>) -> Self {
        let n = classes.len();
        Self { classes, counts: vec![vec![0; n]; n] }
    }

    /// Counts one case. Returns whether both names are classes of this matrix; otherwise nothing is counted.
    pub fn add(&mut self, truth: &str, said: &str) -> bool {
        let position = |name| self.classes.iter().position(|class| class == name);
        let (Some(row), Some(col)) = (position(truth), position(said)) else { return false };
        self.counts[row][col] += 1;
        true
    }

    /// Returns the F1 of each class, 0..=1; 0 for a class that was neither there nor named.
    pub fn f1_of_classes(&self) -> Vec<f64> {
        let f1 = |class: usize| {
            let there: usize = self.counts[class].iter().sum();
            let said: usize = self.counts.iter().map(|row| row[class]).sum();
            ratio(2 * self.counts[class][class], there + said).unwrap_or(0.0)
        };
        (0..self.classes.len()).map(f1).collect()
    }

    /// Returns the mean F1 over the classes that were there or were named, as scikit-learn does; `None` without cases.
    pub fn macro_f1(&self) -> Option<f64> {
        let f1 = self.f1_of_classes();
        let occurring: Vec<f64> = self.occurring().into_iter().map(|class| f1[class]).collect();
        (!occurring.is_empty()).then(|| occurring.iter().sum::<f64>() / occurring.len() as f64)
    }

    /// Returns the places of the classes that were there or were named, ascending.
    pub fn occurring(&self) -> Vec<usize> {
        let occurs = |&class: &usize| {
            self.counts[class].iter().sum::<usize>() + self.counts.iter().map(|row| row[class]).sum::<usize>() > 0
        };
        (0..self.classes.len()).filter(occurs).collect()
    }

    /// Returns the matrix of the classes at these `places` alone.
    ///
    /// # Panics
    /// When there is no class at a place.
    #[must_use]
    pub fn of_classes(&self, places: &[usize]) -> Self {
        let row = |&class: &usize| places.iter().map(|&said| self.counts[class][said]).collect();
        let classes = places.iter().map(|&class| self.classes[class].clone()).collect();
        Self { classes, counts: places.iter().map(row).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_by_hand() {
        let decided = |is_defect, is_rejected, n| std::iter::repeat_n(Decided { is_defect, is_rejected }, n);
        let all = decided(false, false, 6)
            .chain(decided(false, true, 2))
            .chain(decided(true, false, 1))
            .chain(decided(true, true, 3));
        let outcomes: Outcomes = all.collect();
        assert_eq!(outcomes.overkill_rate(), Some(0.25));
        assert_eq!(outcomes.escape_rate(), Some(0.25));
        assert_eq!(outcomes.accuracy(), Some(0.75));
        assert_eq!(outcomes.confusion().counts, [[6, 2], [1, 3]]);
        assert_eq!(Outcomes::default().escape_rate(), None);
        assert_eq!(Outcomes::default().overkill_rate(), None);
    }

    #[test]
    fn unknown_names_are_not_counted() {
        let mut confusion = Confusion::new(vec!["a".to_owned(), "b".to_owned()]);
        assert!(!confusion.add("a", "c"));
        assert_eq!(confusion.macro_f1(), None);
        assert!(confusion.add("a", "a"));
        assert_eq!(confusion.macro_f1(), Some(1.0));
    }
}
