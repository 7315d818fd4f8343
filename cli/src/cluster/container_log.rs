//! The log of one container, line by line.

use futures_util::StreamExt as _;
use regex::Regex;
use tiphys_kubernetes::{ApiError, Kind};
use tiphys_local::LogLine;

use super::Cluster;

/// A line longer than this is given in pieces, so that memory stays bounded.
const MAX_LINE_BYTES: usize = 1 << 20;

/// What of a log is wanted.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    /// Whether to go on until the container ends.
    pub follow: bool,
    /// Of the container before it was restarted.
    pub previous: bool,
    /// Only what is newer, in seconds.
    pub since_seconds: Option<String>,
    /// Only what is newer, as RFC 3339.
    pub since_time: Option<String>,
    /// Only so many lines from the end.
    pub tail: Option<String>,
    /// With the time of each line.
    pub timestamps: bool,
    /// Only lines that match.
    pub grep: Option<Regex>,
}

/// A container of a Pod, with the short name of its node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Source {
    pub pod: String,
    pub container: String,
    pub node: String,
}

impl Wanted {
    fn query<'a>(&'a self, container: &'a str) -> Vec<(&'static str, &'a str)> {
        let mut query = vec![("container", container)];
        for (name, wanted) in [("follow", self.follow), ("previous", self.previous), ("timestamps", self.timestamps)] {
            query.extend(wanted.then_some((name, "true")));
        }
        for (name, value) in
            [("sinceSeconds", &self.since_seconds), ("sinceTime", &self.since_time), ("tailLines", &self.tail)]
        {
            query.extend(value.as_deref().map(|value| (name, value)));
        }
        query
    }

    /// A line as it is printed, where it is wanted.
    pub fn line(&self, source: &Source, text: String) -> Option<LogLine> {
        // A pattern is about what was written, not about when.
        let written = match self.timestamps {
            true => text.split_once(' ').map_or(text.as_str(), |(_, written)| written),
            false => &text,
        };
        let wanted = self.grep.as_ref().is_none_or(|grep| grep.is_match(written));
        wanted.then(|| LogLine { node: source.node.clone(), container: source.container.clone(), text })
    }
}

impl Cluster {
    /// Opens a container's log. Nothing of it is read yet.
    pub(super) async fn open_log<'a>(
        &self,
        source: &'a Source,
        wanted: &'a Wanted,
    ) -> Result<
        Log<'a, impl futures_util::Stream<Item = Result<impl AsRef<[u8]> + use<>, ApiError>> + Unpin + use<>>,
        ApiError,
    > {
        let query = wanted.query(&source.container);
        let path = Kind::Pod.within(&self.namespace).below(&source.pod, "log", &query);
        let pieces = self.api.stream(&path).await?;
        Ok(Log { source, wanted, pieces, lines: Lines::default() })
    }
}

/// An open log.
pub(super) struct Log<'a, S> {
    source: &'a Source,
    wanted: &'a Wanted,
    pieces: S,
    lines: Lines,
}

impl<P: AsRef<[u8]>, S: futures_util::Stream<Item = Result<P, ApiError>> + Unpin> Log<'_, S> {
    /// Some more of its lines; None at its end.
    pub async fn next(&mut self) -> Option<Result<Vec<LogLine>, ApiError>> {
        let texts = match self.pieces.next().await {
            Some(Ok(piece)) => self.lines.take(piece.as_ref()),
            Some(Err(error)) => return Some(Err(error)),
            None => {
                let rest = self.lines.rest()?;
                vec![rest]
            }
        };
        Some(Ok(texts.into_iter().filter_map(|text| self.wanted.line(self.source, text)).collect()))
    }
}

/// Bytes that become lines.
#[derive(Debug, Default)]
pub(super) struct Lines {
    rest: Vec<u8>,
}

impl Lines {
    /// The lines that are whole now.
    pub fn take(&mut self, bytes: &[u8]) -> Vec<String> {
        self.rest.extend_from_slice(bytes);
        let mut lines = Vec::new();
        let mut from = 0;
        while let Some(length) = self.rest[from..].iter().position(|byte| *byte == b'\n') {
            lines.push(text(&self.rest[from..from + length]));
            from += length + 1;
        }
        self.rest.drain(..from);
        if self.rest.len() > MAX_LINE_BYTES {
            lines.push(text(&std::mem::take(&mut self.rest)));
        }
        lines
    }

    /// What stands after the last line end.
    pub fn rest(&mut self) -> Option<String> {
        (!self.rest.is_empty()).then(|| text(&std::mem::take(&mut self.rest)))
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim_end_matches('\r').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_become_lines() {
        let mut lines = Lines::default();
        assert_eq!(lines.take(b"one\r\ntw"), ["one"]);
        assert_eq!(lines.take(b"o\n\nthree"), ["two", ""]);
        assert_eq!(lines.rest().as_deref(), Some("three"));
        assert_eq!(lines.rest(), None);
        assert_eq!(lines.take(&vec![b'x'; MAX_LINE_BYTES + 1])[0].len(), MAX_LINE_BYTES + 1);
    }

    #[test]
    fn the_server_is_asked_for_what_is_wanted() {
        let wanted =
            Wanted { follow: true, tail: Some("3".into()), since_seconds: Some("60".into()), ..Wanted::default() };
        let expected = [("container", "main"), ("follow", "true"), ("sinceSeconds", "60"), ("tailLines", "3")];
        assert_eq!(wanted.query("main"), expected);
        assert_eq!(Wanted::default().query("x"), [("container", "x")]);
    }

    #[test]
    fn patterns_do_not_look_at_times() {
        let wanted = Wanted { grep: Some(Regex::new("^a").unwrap()), timestamps: true, ..Wanted::default() };
        let source = Source { pod: "p".into(), container: "main".into(), node: "n".into() };
        let line = |text: &str| wanted.line(&source, text.to_owned()).map(|line| line.text);
        assert_eq!(line("2026-01-01T00:00:00Z ab").as_deref(), Some("2026-01-01T00:00:00Z ab"));
        assert_eq!(line("2026-01-01T00:00:00Z b"), None);
    }
}
