use std::{cmp::Ordering, path::Path};

/// Returns the order of two paths in which a person would put them: part by part, `part2` before `part10`.
///
/// Runs of digits compare by value, letters without regard to case; ties fall back to the bytes, so that the order is total
/// and the same on every machine.
pub fn natural_order(a: &Path, b: &Path) -> Ordering {
    let part_by_part = a
        .components()
        .map(|part| part.as_os_str().to_string_lossy())
        .zip(b.components().map(|part| part.as_os_str().to_string_lossy()))
        .map(|(a, b)| compare_names(&a, &b))
        .find(|order| order.is_ne());
    part_by_part.unwrap_or_else(|| a.components().count().cmp(&b.components().count())).then_with(|| a.cmp(b))
}

fn compare_names(mut a: &str, mut b: &str) -> Ordering {
    loop {
        let order = match (a.chars().next(), b.chars().next()) {
            (None, None) => return Ordering::Equal,
            (None, Some(_)) => return Ordering::Less,
            (Some(_), None) => return Ordering::Greater,
            (Some(x), Some(y)) if x.is_ascii_digit() && y.is_ascii_digit() => {
                compare_numbers(take_digits(&mut a), take_digits(&mut b))
            }
            (Some(x), Some(y)) => {
                a = &a[x.len_utf8()..];
                b = &b[y.len_utf8()..];
                x.to_lowercase().cmp(y.to_lowercase())
            }
        };
        if order.is_ne() {
            return order;
        }
    }
}

/// Returns the leading digits of `text` and moves `text` behind them.
fn take_digits<'a>(text: &mut &'a str) -> &'a str {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    *text = rest;
    digits
}

/// Returns the order of two numbers of any length.
fn compare_numbers(a: &str, b: &str) -> Ordering {
    let (a, b) = (a.trim_start_matches('0'), b.trim_start_matches('0'));
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sorts_as_a_person_would() {
        let expected = [
            "a/1.png",
            "a/2.png",
            "a/b/1.png",
            "A1.png",
            "a01.png",
            "a1.png",
            "a2.png",
            "a10.png",
            "a10b2.png",
            "a10b10.png",
            "part_99999999999999999999998.png",
            "part_99999999999999999999999.png",
            "ä.png",
        ];
        let mut shuffled = expected;
        shuffled.reverse();
        shuffled.sort_by(|a, b| natural_order(Path::new(a), Path::new(b)));
        assert_eq!(shuffled, expected);
    }
}
