use std::fmt;

use serde::{Serialize, Serializer, ser::SerializeStruct as _};

/// Measurements of one thing, in ascending order.
#[derive(Debug, Default, Clone, PartialEq)]
pub(super) struct Samples(Vec<f64>);

impl Samples {
    /// Adds a measurement.
    pub(super) fn add(&mut self, value: f64) {
        let at = self.0.partition_point(|other| *other < value);
        self.0.insert(at, value);
    }

    /// Returns whether nothing was measured.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the middle measurement, the mean of both of an even number, `None` where there is none.
    pub(super) fn median(&self) -> Option<f64> {
        let (low, high) = (self.0.len().checked_sub(1)? / 2, self.0.len() / 2);
        Some(f64::midpoint(self.0[low], self.0[high]))
    }
}

impl Extend<f64> for Samples {
    fn extend<I: IntoIterator<Item = f64>>(&mut self, values: I) {
        for value in values {
            self.add(value);
        }
    }
}

impl fmt::Display for Samples {
    /// Writes the median and, of several, the least and the greatest.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match (self.median(), self.0.as_slice()) {
            (Some(median), [least, .., greatest]) => format!("{median:.0} ({least:.0} to {greatest:.0})"),
            (Some(median), _) => format!("{median:.0}"),
            (None, _) => "-".to_owned(),
        };
        f.pad(&text)
    }
}

impl Serialize for Samples {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("Samples", 2)?;
        fields.serialize_field("median", &self.median())?;
        fields.serialize_field("samples", &self.0)?;
        fields.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_the_median_and_the_extremes() {
        let cases: [(&[f64], Option<f64>, &str); 4] = [
            (&[], None, "-"),
            (&[7.0], Some(7.0), "7"),
            (&[9.0, 1.0], Some(5.0), "5 (1 to 9)"),
            (&[9.0, 1.0, 2.0], Some(2.0), "2 (1 to 9)"),
        ];
        for (values, median, text) in cases {
            let mut samples = Samples::default();
            samples.extend(values.iter().copied());
            assert_eq!((samples.median(), samples.to_string().as_str()), (median, text));
            assert_eq!(samples.is_empty(), values.is_empty());
        }
    }
}
