//! Progress that the user's process reports in a file: the last line counts, `N/M`.

use std::fs;
use std::path::Path;

/// The progress that a file tells, when its last line is one: 0 <= N <= M, M > 0 (argo: progress.go).
pub fn read(file: &Path) -> Option<String> {
    parse(&fs::read_to_string(file).ok()?)
}

fn parse(text: &str) -> Option<String> {
    let line = text.trim().rsplit('\n').next()?.trim();
    let (done, all) = line.split_once('/')?;
    let (done, all): (u64, u64) = (done.parse().ok()?, all.parse().ok()?);
    (done <= all && all > 0).then(|| line.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_counts() {
        for (text, expected) in [
            ("1/2\n", Some("1/2")),
            ("1/2\n2/2", Some("2/2")),
            ("1/2\n\n", Some("1/2")),
            ("0/1", Some("0/1")),
            ("3/2", None),
            ("0/0", None),
            ("-1/2", None),
            ("1/2\nhalf", None),
            ("", None),
        ] {
            assert_eq!(parse(text).as_deref(), expected, "{text:?}");
        }
    }
}
