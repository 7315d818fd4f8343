//! What stands behind backslashes in literals.

const BAD_ESCAPE: &str = "unable to unescape string";
const BAD_OCTAL: &str = "unable to unescape octal sequence in string";

/// The text of a quoted literal.
pub(super) fn unescape(quoted: &[char]) -> Result<String, &'static str> {
    let body = &quoted[1..quoted.len() - 1];
    let mut out = String::with_capacity(body.len());
    let mut rest = body;
    while let Some((c, tail)) = rest.split_first() {
        rest = tail;
        match c {
            '\r' => {
                rest = rest.strip_prefix(&['\n']).unwrap_or(rest);
                out.push('\n');
            }
            '\\' => {
                let (c, tail) = unescape_char(rest)?;
                out.push(c);
                rest = tail;
            }
            c => out.push(*c),
        }
    }
    Ok(out)
}

fn simple_escape(c: char) -> Option<char> {
    Some(match c {
        'a' => '\u{7}',
        'b' => '\u{8}',
        'f' => '\u{c}',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'v' => '\u{b}',
        '\\' | '\'' | '"' | '`' | '?' => c,
        _ => return None,
    })
}

fn unescape_char(rest: &[char]) -> Result<(char, &[char]), &'static str> {
    let (c, rest) = rest.split_first().ok_or("unable to unescape string, found '\\' as last character")?;
    if let Some(simple) = simple_escape(*c) {
        return Ok((simple, rest));
    }
    match c {
        'u' if rest.first() == Some(&'{') => {
            let end = rest.iter().position(|c| *c == '}').ok_or(BAD_ESCAPE)?;
            Ok((hex_char(&rest[1..end])?, &rest[end + 1..]))
        }
        'x' | 'X' | 'u' | 'U' => {
            let count = match c {
                'u' => 4,
                'U' => 8,
                _ => 2,
            };
            let (digits, tail) = rest.split_at_checked(count).ok_or(BAD_ESCAPE)?;
            Ok((hex_char(digits)?, tail))
        }
        '0'..='3' => {
            let (digits, tail) = rest.split_at_checked(2).ok_or(BAD_OCTAL)?;
            let mut value = *c as u32 - '0' as u32;
            for digit in digits {
                value = value * 8 + digit.to_digit(8).ok_or(BAD_OCTAL)?;
            }
            Ok((char::from_u32(value).ok_or(BAD_ESCAPE)?, tail))
        }
        _ => Err(BAD_ESCAPE),
    }
}

fn hex_char(digits: &[char]) -> Result<char, &'static str> {
    let mut value = 0_u32;
    for digit in digits {
        value = value.checked_mul(16).ok_or(BAD_ESCAPE)? + digit.to_digit(16).ok_or(BAD_ESCAPE)?;
    }
    if value > 0x10_ffff {
        return Err(BAD_ESCAPE);
    }
    Ok(char::from_u32(value).unwrap_or(char::REPLACEMENT_CHARACTER))
}

pub(super) fn unescape_bytes(quoted: &[char]) -> Result<Vec<u8>, &'static str> {
    let mut out = Vec::new();
    let mut rest = &quoted[1..quoted.len() - 1];
    while let Some((c, tail)) = rest.split_first() {
        rest = tail;
        if *c != '\\' {
            let mut buffer = [0; 4];
            out.extend_from_slice(c.encode_utf8(&mut buffer).as_bytes());
            continue;
        }
        let (c, tail) = rest.split_first().ok_or(BAD_ESCAPE)?;
        let (base, count, digits) = match c {
            'x' | 'X' => (16, 2, tail),
            '0'..='3' => (8, 3, rest),
            _ => {
                let simple = simple_escape(*c).ok_or(BAD_ESCAPE)?;
                out.push(simple as u8);
                rest = tail;
                continue;
            }
        };
        let (digits, tail) = digits.split_at_checked(count).ok_or(BAD_ESCAPE)?;
        let mut value = 0_u32;
        for digit in digits {
            value = value * base + digit.to_digit(base).ok_or(BAD_ESCAPE)?;
        }
        out.push(u8::try_from(value).map_err(|_| BAD_ESCAPE)?);
        rest = tail;
    }
    Ok(out)
}
