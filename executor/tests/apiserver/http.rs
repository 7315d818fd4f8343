//! HTTP/1.1: requests in, answers and watches out.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};

use serde_json::{Value, json};

use super::objects::Answer;
use super::{Fate, State};

/// A connection.
pub trait Stream: Read + Write + Send {}

impl<T: Read + Write + Send> Stream for T {}

/// A request as it came.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    pub method: String,
    pub path: String,
    pub query: BTreeMap<String, String>,
    pub headers: BTreeMap<String, String>,
    /// Null when there was none.
    pub body: Value,
}

impl Call {
    /// Its method, and its path's last two parts: `PATCH workflowtaskresults/x`.
    pub fn brief(&self) -> String {
        let parts: Vec<&str> = self.path.rsplitn(3, '/').collect();
        format!("{} {}/{}", self.method, parts.get(1).unwrap_or(&""), parts[0])
    }

    pub fn content_type(&self) -> &str {
        self.headers.get("content-type").map_or("", String::as_str)
    }
}

pub(super) fn serve(state: &State, stream: &mut dyn Stream) -> io::Result<()> {
    while let Some(call) = read(stream)? {
        let (fate, closings) = {
            let mut inner = state.lock();
            let number = inner.calls.len();
            inner.calls.push(call.clone());
            ((inner.plan)(number, &call), inner.closings)
        };
        state.changed.notify_all();
        match fate {
            Fate::Pass if call.query.get("watch").is_some_and(|watch| watch == "true" || watch == "1") => {
                return watch(state, stream, &call, closings);
            }
            Fate::Pass => answer(stream, &carry_out(state, &call), "")?,
            Fate::LoseAnswer => {
                carry_out(state, &call);
                return Ok(());
            }
            Fate::Refuse(status, reason, message) => answer(stream, &Answer::status(status, reason, message), "")?,
            Fate::Later(seconds) => {
                let told = Answer::status(429, "TooManyRequests", "by plan");
                answer(stream, &told, &format!("retry-after: {seconds}\r\n"))?;
            }
            Fate::Drop => return Ok(()),
            Fate::Stall | Fate::StallAnswer => {
                if fate == Fate::StallAnswer {
                    carry_out(state, &call);
                }
                let mut inner = state.lock();
                while !inner.over {
                    inner = state.wait(inner);
                }
                return Ok(());
            }
            Fate::Garbage => {
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n<html")?;
                stream.flush()?;
            }
        }
    }
    Ok(())
}

fn carry_out(state: &State, call: &Call) -> Answer {
    let answer = state.lock().objects.carry_out(call);
    state.changed.notify_all();
    answer
}

fn read(stream: &mut dyn Stream) -> io::Result<Option<Call>> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte)? == 0 {
            return Ok(None);
        }
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let mut lines = head.lines();
    let mut first = lines.next().unwrap_or_default().split(' ');
    let (method, target) = (first.next().unwrap_or_default(), first.next().unwrap_or_default());
    let headers: BTreeMap<String, String> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let length = headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let query = query.split('&').filter_map(|pair| pair.split_once('='));
    let query = query.map(|(key, value)| (decoded(key), decoded(value))).collect();
    let body = serde_json::from_slice(&body).unwrap_or_default();
    Ok(Some(Call { method: method.into(), path: decoded(path), query, headers, body }))
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        match (first, after) {
            (b'%', [high, low, after @ ..]) => {
                let hex = [*high, *low];
                let hex = std::str::from_utf8(&hex).unwrap();
                bytes.push(u8::from_str_radix(hex, 16).unwrap());
                rest = after;
            }
            (b'+', _) => bytes.push(b' '),
            (other, _) => bytes.push(*other),
        }
    }
    String::from_utf8(bytes).unwrap()
}

fn answer(stream: &mut dyn Stream, answer: &Answer, headers: &str) -> io::Result<()> {
    let body = answer.body.to_string();
    let (status, length) = (answer.status, body.len());
    write!(
        stream,
        "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n{headers}\r\n{body}"
    )?;
    stream.flush()
}

/// Sends the changes since the version asked for as they come, until there are more closings than when it was asked for.
fn watch(state: &State, stream: &mut dyn Stream, call: &Call, closings: u64) -> io::Result<()> {
    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n")?;
    let mut send = |event: &Value| {
        let line = format!("{event}\n");
        write!(stream, "{:x}\r\n{line}\r\n", line.len())?;
        stream.flush()
    };
    let version = call.query.get("resourceVersion").map(|version| version.parse());
    let mut version: u64 = version.transpose().map_err(io::Error::other)?.unwrap_or(0);
    loop {
        let mut inner = state.lock();
        let changes = loop {
            if inner.over || inner.closings > closings {
                drop(inner);
                stream.write_all(b"0\r\n\r\n")?;
                return stream.flush();
            }
            match inner.objects.since(version, call) {
                Some((_, changes)) if changes.is_empty() => inner = state.wait(inner),
                other => break other,
            }
        };
        drop(inner);
        let Some((now, changes)) = changes else {
            let gone = Answer::status(410, "Expired", "too old resource version");
            send(&json!({"type": "ERROR", "object": gone.body}))?;
            stream.write_all(b"0\r\n\r\n")?;
            return stream.flush();
        };
        for change in changes {
            send(&change)?;
        }
        version = now;
        let bookmark = json!({"kind": "X", "metadata": {"resourceVersion": version.to_string()}});
        send(&json!({"type": "BOOKMARK", "object": bookmark}))?;
    }
}
