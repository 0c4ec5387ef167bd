//! Tables as text: RFC 4180, with a line feed at the end of a line.

use std::{io, path::Path};

use crate::evidence::replace;

/// Writes `names` and then `rows` of as many fields, all of them or nothing.
///
/// # Errors
/// When the file cannot be written.
pub(crate) fn write(path: &Path, names: &[String], rows: impl IntoIterator<Item = Vec<String>>) -> io::Result<()> {
    let mut text = line(names);
    text.extend(rows.into_iter().map(|row| line(&row)));
    replace(path, text.as_bytes())
}

fn line(fields: &[String]) -> String {
    let fields: Vec<String> = fields.iter().map(|field| quoted(field)).collect();
    format!("{}\n", fields.join(","))
}

/// A spreadsheet would compute a text that begins like a formula; names of folders are anybody's.
fn quoted(field: &str) -> String {
    if field.starts_with(['=', '+', '-', '@', '\t']) && field.parse::<f64>().is_err() {
        return quoted(&format!("'{field}"));
    }
    if field.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", field.replace('"', "\"\""))
    } else {
        field.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn what_separates_is_quoted() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("rows.csv");
        let owned = |fields: &[&str]| fields.iter().map(|&field| field.to_owned()).collect::<Vec<_>>();
        write(&path, &owned(&["path", "class"]), [owned(&["a, b.png", "a \"good\" one"]), owned(&["c.png", ""])])
            .unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text, "path,class\n\"a, b.png\",\"a \"\"good\"\" one\"\nc.png,\n");
        assert_eq!(line(&owned(&["=1+1", "-2.5", "-x, y"])), "'=1+1,-2.5,\"'-x, y\"\n");
        assert!(write(root.path(), &[], []).is_err());
    }
}
