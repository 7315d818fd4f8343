//! `WWW-Authenticate`: how a registry says what it wants (RFC 9110, 11.6.1).

/// What a registry asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Challenge {
    /// A user's name and password with each request.
    Basic,
    /// A token from another server.
    Bearer { realm: String, service: Option<String>, scope: Option<String> },
}

/// The strongest challenge of a header that we can answer.
pub(crate) fn parse(header: &str) -> Option<Challenge> {
    let mut found = None;
    let mut rest = header.trim();
    while !rest.is_empty() {
        let (scheme, tail) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
        let (pairs, tail) = parameters(tail);
        let value =
            |name: &str| pairs.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.clone());
        if scheme.eq_ignore_ascii_case("bearer") {
            let realm = value("realm")?;
            return Some(Challenge::Bearer { realm, service: value("service"), scope: value("scope") });
        }
        if scheme.trim_end_matches(',').eq_ignore_ascii_case("basic") {
            found = Some(Challenge::Basic);
        }
        rest = tail;
    }
    found
}

/// `name=value, name="value"` up to the next scheme.
fn parameters(mut rest: &str) -> (Vec<(String, String)>, &str) {
    let mut pairs = Vec::new();
    loop {
        rest = rest.trim_start_matches([' ', ',', '\t']);
        let Some(at) = rest.find(['=', ' ', ',']) else { return (pairs, rest) };
        if !rest[at..].starts_with('=') {
            return (pairs, rest);
        }
        let name = rest[..at].to_owned();
        let (value, tail) = value(&rest[at + 1..]);
        pairs.push((name, value));
        rest = tail;
    }
}

fn value(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([',', ' ']).unwrap_or(text.len());
        return (text[..end].to_owned(), &text[end..]);
    };
    let mut value = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return (value, &quoted[at + 1..]),
            '\\' => value.extend(chars.next().map(|(_, c)| c)),
            c => value.push(c),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bearer(realm: &str, service: Option<&str>, scope: Option<&str>) -> Option<Challenge> {
        let text = |text: Option<&str>| text.map(str::to_owned);
        Some(Challenge::Bearer { realm: realm.to_owned(), service: text(service), scope: text(scope) })
    }

    #[test]
    fn challenges() {
        let scope = "repository:library/busybox:pull,push";
        let header = format!("Bearer realm=\"https://a/token\",service=\"r.io\",scope=\"{scope}\"");
        assert_eq!(parse(&header), bearer("https://a/token", Some("r.io"), Some(scope)));
        assert_eq!(parse("bearer realm=x"), bearer("x", None, None));
        assert_eq!(parse("Basic realm=\"a, b\", Bearer realm=\"t\""), bearer("t", None, None));
        assert_eq!(parse("Basic realm=\"say \\\"hi\\\"\""), Some(Challenge::Basic));
        assert_eq!(parse("Basic"), Some(Challenge::Basic));
        assert_eq!(parse("Negotiate abc=="), None);
        assert_eq!(parse("Bearer service=\"no realm\""), None);
        assert_eq!(parse("Bearer realm=\"open"), bearer("open", None, None));
        assert_eq!(parse(",,,"), None);
    }
}
