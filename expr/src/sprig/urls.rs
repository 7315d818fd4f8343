//! URLs (Go's net/url).

use super::text;
use crate::value::Value;

const PARTS: [&str; 8] = ["fragment", "host", "hostname", "opaque", "path", "query", "scheme", "userinfo"];

pub(super) fn parse(args: &[Value]) -> Result<Value, String> {
    let source = text(&args[0]);
    let refuse = |reason: &str| Err(format!("unable to parse url: parse {}: {reason}", crate::go::quote(source)));
    if source.chars().any(|c| c.is_ascii_control()) {
        return refuse("net/url: invalid control character in URL");
    }
    let (rest, fragment) = source.split_once('#').unwrap_or((source, ""));
    let (scheme, rest) = match split_scheme(rest) {
        Ok(split) => split,
        Err(reason) => return refuse(reason),
    };
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let mut parts = [("scheme", scheme.to_lowercase()), ("query", query.to_owned())].to_vec();
    let Some(fragment) = unescape(fragment) else { return refuse("invalid URL escape") };
    parts.push(("fragment", fragment));
    let (mut authority, mut path, mut opaque) = ("", rest, "");
    if !rest.starts_with('/') && !scheme.is_empty() {
        (opaque, path) = (rest, "");
    } else if !rest.starts_with('/') && rest.split('/').next().is_some_and(|segment| segment.contains(':')) {
        return refuse("first path segment in URL cannot contain colon");
    } else if let Some(after) = rest.strip_prefix("//").filter(|_| !scheme.is_empty() || !rest.starts_with("///")) {
        let end = after.find('/').unwrap_or(after.len());
        (authority, path) = after.split_at(end);
    }
    let (userinfo, host) = authority.rsplit_once('@').unwrap_or(("", authority));
    let port = host.rsplit_once(':').filter(|(_, port)| !port.ends_with(']'));
    if let Some((_, port)) = port
        && !port.bytes().all(|b| b.is_ascii_digit())
    {
        return refuse(&format!("invalid port {} after host", crate::go::quote(&format!(":{port}"))));
    }
    if host.contains(' ') {
        return refuse("invalid character \" \" in host name");
    }
    let (Some(host), Some(path)) = (unescape(host), unescape(path)) else { return refuse("invalid URL escape") };
    let bare = port.map_or(host.as_str(), |_| host.rsplit_once(':').map_or(host.as_str(), |(name, _)| name));
    parts.push(("hostname", bare.trim_start_matches('[').trim_end_matches(']').to_owned()));
    parts.extend([("host", host), ("path", path), ("opaque", opaque.to_owned()), ("userinfo", userinfo.to_owned())]);
    Ok(Value::map(parts.into_iter().map(|(name, value)| (name, Value::str(value)))))
}

fn split_scheme(source: &str) -> Result<(&str, &str), &'static str> {
    for (i, c) in source.char_indices() {
        match c {
            'a'..='z' | 'A'..='Z' => {}
            '0'..='9' | '+' | '-' | '.' if i > 0 => {}
            ':' if i == 0 => return Err("missing protocol scheme"),
            ':' => return Ok((&source[..i], &source[i + 1..])),
            _ => return Ok(("", source)),
        }
    }
    Ok(("", source))
}

fn unescape(source: &str) -> Option<String> {
    let mut out = Vec::with_capacity(source.len());
    let mut bytes = source.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let hex = [bytes.next()?, bytes.next()?];
        out.push(u8::from_str_radix(std::str::from_utf8(&hex).ok()?, 16).ok()?);
    }
    Some(String::from_utf8_lossy(&out).into_owned())
}

fn escape(source: &str, allowed: &str) -> String {
    let mut out = String::with_capacity(source.len());
    for byte in source.bytes() {
        if byte.is_ascii_alphanumeric() || allowed.as_bytes().contains(&byte) {
            out.push(byte as char);
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

pub(super) fn join(args: &[Value]) -> Result<Value, String> {
    let Value::Map(map) = &args[0] else { return Ok(Value::str("")) };
    let part = |name: &str| match map.entries.get(name) {
        None => Ok(""),
        Some(Value::Str(text)) => Ok(&**text),
        Some(other) => {
            let kind = super::reflect::kind(other);
            Err(format!("unable to parse {name} key, must be of type string, but {kind} found"))
        }
    };
    for name in PARTS {
        if name != "hostname" {
            part(name)?;
        }
    }
    let mut out = String::new();
    if !part("scheme")?.is_empty() {
        out = format!("{}:", part("scheme")?);
    }
    let (host, path, userinfo) = (part("host")?, part("path")?, part("userinfo")?);
    if !part("opaque")?.is_empty() {
        out.push_str(part("opaque")?);
    } else {
        if !out.is_empty() || !host.is_empty() || !userinfo.is_empty() {
            if !host.is_empty() || !path.is_empty() || !userinfo.is_empty() {
                out.push_str("//");
            }
            if !userinfo.is_empty() {
                out.push_str(&format!("{userinfo}@"));
            }
            out.push_str(&escape(host, "-_.~!$&'()*+,;=:[]<>\""));
        }
        if !path.is_empty() && !path.starts_with('/') && !host.is_empty() {
            out.push('/');
        }
        let first = path.split('/').next().unwrap_or("");
        if out.is_empty() && first.contains(':') {
            out.push_str("./");
        }
        out.push_str(&escape(path, "-_.~$&+,/:;=@!'()*"));
    }
    if !part("query")?.is_empty() {
        out.push_str(&format!("?{}", part("query")?));
    }
    if !part("fragment")?.is_empty() {
        out.push_str(&format!("#{}", escape(part("fragment")?, "-_.~$&+,/:;=?@!()*'")));
    }
    Ok(Value::str(out))
}
