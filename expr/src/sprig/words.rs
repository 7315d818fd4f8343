//! Words in identifiers: snake, kebab and Pascal case (github.com/huandu/xstrings v1.5.0).

fn is_connector(c: char) -> bool {
    c == '-' || c == '_' || c.is_whitespace()
}

fn is_punctuation(c: char) -> bool {
    if c.is_ascii() {
        // Go counts these among the symbols.
        return c.is_ascii_punctuation() && !"$+<=>^`|~".contains(c);
    }
    matches!(c, '\u{2010}'..='\u{2027}' | '\u{2030}'..='\u{205e}' | '\u{3001}'..='\u{3003}' | '\u{ff01}'..='\u{ff0f}' | '¡' | '§' | '«' | '¶' | '·' | '»' | '¿')
}

fn is_alphabet(c: char) -> bool {
    // Letters without case end a word of letters with case.
    c.is_uppercase() || c.is_lowercase()
}

fn lower(c: char) -> char {
    let mut mapped = c.to_lowercase();
    match (mapped.next(), mapped.next()) {
        (Some(single), None) => single,
        _ => c,
    }
}

fn upper(c: char) -> char {
    let mut mapped = c.to_uppercase();
    match (mapped.next(), mapped.next()) {
        (Some(single), None) => single,
        _ => c,
    }
}

/// `ToPascalCase`.
pub(super) fn pascal(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let chars: Vec<char> = source.chars().collect();
    let leading = chars.iter().take_while(|c| is_connector(**c)).count();
    out.extend(&chars[..leading]);
    let Some(first) = chars.get(leading) else {
        // The last of connectors alone comes twice.
        out.extend(chars.last());
        return out;
    };
    let mut first_upper = first.is_uppercase();
    let mut current = upper(*first);
    for c in &chars[leading + 1..] {
        let previous = std::mem::replace(&mut current, *c);
        if is_connector(current) && is_connector(previous) {
            out.push(previous);
        } else if is_connector(previous) {
            first_upper = current.is_uppercase();
            current = upper(current);
        } else {
            if first_upper {
                if current.is_uppercase() {
                    current = lower(current);
                } else {
                    first_upper = false;
                }
            }
            out.push(previous);
        }
    }
    out.push(current);
    out
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Word {
    None,
    Number,
    Upper,
    Alphabet,
    Connector,
    Punctuation,
    Other,
}

/// The next word and its length.
fn next_word(chars: &[char]) -> (Word, usize) {
    let Some(first) = chars.first().copied() else { return (Word::None, 0) };
    let run = |fits: fn(char) -> bool| chars.iter().take_while(|c| fits(**c)).count();
    if is_connector(first) {
        return (Word::Connector, run(is_connector));
    }
    if is_punctuation(first) {
        return (Word::Punctuation, run(is_punctuation));
    }
    if first.is_uppercase() {
        let capitals = run(char::is_uppercase);
        if capitals > 1 {
            // The last capital before small letters begins the next word.
            let next_small = chars.get(capitals).is_some_and(|c| is_alphabet(*c));
            return (Word::Upper, if next_small { capitals - 1 } else { capitals });
        }
        let small = chars[1..].iter().take_while(|c| is_alphabet(**c) && !c.is_uppercase()).count();
        return (Word::Upper, 1 + small);
    }
    if is_alphabet(first) {
        return (Word::Alphabet, run(|c| is_alphabet(c) && !c.is_uppercase()));
    }
    if first.is_numeric() {
        return (Word::Number, run(char::is_numeric));
    }
    let other = |c: char| !(is_connector(c) || is_alphabet(c) || c.is_numeric() || is_punctuation(c));
    (Word::Other, 1 + chars[1..].iter().take_while(|c| other(**c)).count())
}

struct Words<'s> {
    rest: &'s [char],
    kind: Word,
    word: &'s [char],
}

impl<'s> Words<'s> {
    fn advance(&mut self) {
        let (kind, length) = next_word(self.rest);
        self.kind = kind;
        (self.word, self.rest) = self.rest.split_at(length);
    }
}

fn write(out: &mut String, kind: Word, word: &[char], connector: char) {
    if kind != Word::Upper && kind != Word::Connector {
        out.extend(word);
        return;
    }
    out.extend(word.iter().map(|c| if is_connector(*c) { connector } else { lower(*c) }));
}

/// `ToSnakeCase` and `ToKebabCase`: words in small letters, joined by `connector`.
pub(super) fn lower_joined(source: &str, connector: char) -> String {
    let chars: Vec<char> = source.chars().collect();
    let mut out = String::with_capacity(source.len() + 8);
    let mut words = Words { rest: &chars, kind: Word::None, word: &[] };
    words.advance();
    let joins = |kind: Word| !matches!(kind, Word::None | Word::Connector | Word::Punctuation);
    while !words.rest.is_empty() {
        if words.kind != Word::Connector {
            write(&mut out, words.kind, words.word, connector);
        }
        let (previous, last) = (words.kind, words.word);
        words.advance();
        match previous {
            Word::Number => {
                while matches!(words.kind, Word::Alphabet | Word::Number) {
                    write(&mut out, words.kind, words.word, connector);
                    words.advance();
                }
                if joins(words.kind) {
                    out.push(connector);
                }
            }
            Word::Connector => write(&mut out, previous, last, connector),
            Word::Punctuation => {}
            _ if words.kind != Word::Number => {
                if !matches!(words.kind, Word::Connector | Word::Punctuation) {
                    out.push(connector);
                }
            }
            _ if words.rest.is_empty() => {}
            _ => {
                let number = words.word;
                words.advance();
                // A number belongs to the word before it, unless small letters follow.
                if words.kind != Word::Alphabet {
                    write(&mut out, Word::Number, number, connector);
                    if !matches!(words.kind, Word::Connector | Word::Punctuation) {
                        out.push(connector);
                    }
                    continue;
                }
                out.push(connector);
                write(&mut out, Word::Number, number, connector);
                while matches!(words.kind, Word::Alphabet | Word::Number) {
                    write(&mut out, words.kind, words.word, connector);
                    words.advance();
                }
                if joins(words.kind) {
                    out.push(connector);
                }
            }
        }
    }
    write(&mut out, words.kind, words.word, connector);
    out
}
