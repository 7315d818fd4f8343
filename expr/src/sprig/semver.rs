//! Versions and their ranges (github.com/Masterminds/semver v3).

use super::text;
use crate::lang::Func;
use crate::value::{Map, MapKind, Value};
use regex::Regex;
use std::cmp::Ordering;
use std::sync::LazyLock;

const TYPE: &str = "*semver.Version";

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Version {
    numbers: [u64; 3],
    pre: String,
    metadata: String,
}

const SUFFIX: &str = r"(-([0-9A-Za-z\-]+(\.[0-9A-Za-z\-]+)*))?(\+([0-9A-Za-z\-]+(\.[0-9A-Za-z\-]+)*))?";
const OPS: &str = r"=||!=|>|<|>=|=>|<=|=<|~|~>|\^";

fn pattern(source: &str) -> Option<Regex> {
    Regex::new(source).ok()
}

fn constraint_version() -> String {
    format!(r"v?([0-9|x|X|\*]+)(\.[0-9|x|X|\*]+)?(\.[0-9|x|X|\*]+)?{SUFFIX}")
}

struct Patterns {
    version: Regex,
    one: Regex,
    range: Regex,
    find: Regex,
    valid: Regex,
}

static PATTERNS: LazyLock<Option<Patterns>> = LazyLock::new(|| {
    let cv = constraint_version();
    Some(Patterns {
        version: pattern(&format!(r"^v?([0-9]+)(\.[0-9]+)?(\.[0-9]+)?{SUFFIX}$"))?,
        one: pattern(&format!(r"^\s*({OPS})\s*({cv})\s*$"))?,
        range: pattern(&format!(r"\s*({cv})\s+-\s+({cv})\s*"))?,
        find: pattern(&format!(r"({OPS})\s*({cv})"))?,
        valid: pattern(&format!(r"^(\s*({OPS})\s*({cv})\s*)((?:\s+|,\s*)({OPS})\s*({cv})\s*)*$"))?,
    })
});

fn patterns() -> Result<&'static Patterns, String> {
    PATTERNS.as_ref().ok_or_else(|| "the patterns of versions do not compile".to_owned())
}

impl Version {
    fn parse(source: &str) -> Result<Self, String> {
        let invalid = || "Invalid Semantic Version".to_owned();
        let captures = patterns()?.version.captures(source).ok_or_else(invalid)?;
        let group = |i: usize| captures.get(i).map_or("", |group| group.as_str());
        let mut numbers = [0; 3];
        for (i, number) in numbers.iter_mut().enumerate() {
            let digits = group(i + 1).trim_start_matches('.');
            if !digits.is_empty() {
                *number = digits.parse().map_err(|_| format!("Error parsing version segment: {digits}"))?;
            }
        }
        let pre = group(5).to_owned();
        let leading_zero =
            |part: &str| part.len() > 1 && part.starts_with('0') && part.bytes().all(|b| b.is_ascii_digit());
        if pre.split('.').any(leading_zero) {
            return Err("Version segment starts with 0".to_owned());
        }
        Ok(Self { numbers, pre, metadata: group(8).to_owned() })
    }

    fn text(&self) -> String {
        let [major, minor, patch] = self.numbers;
        let mut out = format!("{major}.{minor}.{patch}");
        if !self.pre.is_empty() {
            out.push_str(&format!("-{}", self.pre));
        }
        if !self.metadata.is_empty() {
            out.push_str(&format!("+{}", self.metadata));
        }
        out
    }

    fn compare(&self, other: &Self) -> Ordering {
        self.numbers.cmp(&other.numbers).then_with(|| compare_pre(&self.pre, &other.pre))
    }
}

fn compare_pre(a: &str, b: &str) -> Ordering {
    match (a.is_empty(), b.is_empty()) {
        (true, true) => return Ordering::Equal,
        (true, false) => return Ordering::Greater,
        (false, true) => return Ordering::Less,
        (false, false) => {}
    }
    let (mut left, mut right) = (a.split('.'), b.split('.'));
    loop {
        let order = match (left.next(), right.next()) {
            (None, None) => return Ordering::Equal,
            (None, Some(_)) => Ordering::Less,
            (Some(_), None) => Ordering::Greater,
            (Some(x), Some(y)) => match (x.parse::<u64>(), y.parse::<u64>()) {
                (Ok(x), Ok(y)) => x.cmp(&y),
                (Ok(_), Err(_)) => Ordering::Less,
                (Err(_), Ok(_)) => Ordering::Greater,
                (Err(_), Err(_)) => x.cmp(y),
            },
        };
        if order.is_ne() {
            return order;
        }
    }
}

struct Constraint {
    operator: String,
    version: Version,
    /// Parts were left open (`1.x`, `1`).
    dirty: bool,
    minor_dirty: bool,
    patch_dirty: bool,
}

fn open(part: &str) -> bool {
    matches!(part.trim_start_matches('.'), "x" | "X" | "*" | "")
}

impl Constraint {
    fn parse(source: &str) -> Result<Self, String> {
        let captures = patterns()?.one.captures(source).ok_or_else(|| format!("improper constraint: {source}"))?;
        let group = |i: usize| captures.get(i).map_or("", |group| group.as_str());
        let (minor_dirty, patch_dirty, version) = if open(group(3)) {
            (false, false, format!("0.0.0{}", group(6)))
        } else if open(group(4)) {
            (true, false, format!("{}.0.0{}", group(3), group(6)))
        } else if open(group(5)) {
            (false, true, format!("{}{}.0{}", group(3), group(4), group(6)))
        } else {
            let version = Version::parse(group(2)).map_err(|_| "constraint Parser Error".to_owned())?;
            return Ok(Self {
                operator: group(1).to_owned(),
                version,
                dirty: false,
                minor_dirty: false,
                patch_dirty: false,
            });
        };
        let version = Version::parse(&version).map_err(|_| "constraint Parser Error".to_owned())?;
        Ok(Self { operator: group(1).to_owned(), version, dirty: true, minor_dirty, patch_dirty })
    }

    fn holds(&self, version: &Version) -> bool {
        let [major, minor, patch] = version.numbers;
        let [c_major, c_minor, c_patch] = self.version.numbers;
        if self.operator != "!=" && !version.pre.is_empty() && self.version.pre.is_empty() {
            return false;
        }
        let order = version.compare(&self.version);
        match self.operator.as_str() {
            "!=" => self.differs(version),
            ">" if !self.dirty => order.is_gt(),
            ">" => match major.cmp(&c_major) {
                Ordering::Equal if self.minor_dirty => false,
                Ordering::Equal if self.patch_dirty => minor > c_minor,
                Ordering::Equal => order.is_gt(),
                order => order.is_gt(),
            },
            "<" => order.is_lt(),
            ">=" | "=>" => order.is_ge(),
            "<=" | "=<" if !self.dirty => order.is_le(),
            "<=" | "=<" => !(major > c_major || major == c_major && minor > c_minor && !self.minor_dirty),
            "~" | "~>" => self.tilde(version),
            "^" => {
                if order.is_lt() {
                    false
                } else if c_major > 0 || self.minor_dirty {
                    major == c_major
                } else if major > 0 {
                    false
                } else if c_minor > 0 || self.patch_dirty {
                    minor == c_minor
                } else {
                    minor == 0 && patch == c_patch
                }
            }
            _ if self.dirty => self.tilde(version),
            _ => order.is_eq(),
        }
    }

    fn tilde(&self, version: &Version) -> bool {
        if version.compare(&self.version).is_lt() {
            return false;
        }
        if self.version.numbers == [0; 3] && !self.minor_dirty && !self.patch_dirty {
            return true;
        }
        version.numbers[0] == self.version.numbers[0]
            && (version.numbers[1] == self.version.numbers[1] || self.minor_dirty)
    }

    fn differs(&self, version: &Version) -> bool {
        if self.dirty {
            if !version.pre.is_empty() && self.version.pre.is_empty() {
                return false;
            }
            if version.numbers[0] != self.version.numbers[0] {
                return true;
            }
            if self.minor_dirty {
                return false;
            }
            if version.numbers[1] != self.version.numbers[1] {
                return true;
            }
            if self.patch_dirty {
                let pre = !version.pre.is_empty() || !self.version.pre.is_empty();
                return pre && compare_pre(&version.pre, &self.version.pre).is_ne();
            }
            if version.numbers[2] != self.version.numbers[2] {
                return true;
            }
        }
        version.compare(&self.version).is_ne()
    }
}

pub(super) fn compare(args: &[Value]) -> Result<Value, String> {
    let patterns = patterns()?;
    let mut source = text(&args[0]).to_owned();
    for captures in patterns.range.captures_iter(text(&args[0])) {
        let group = |i: usize| captures.get(i).map_or("", |group| group.as_str());
        source = source.replacen(group(0), &format!(">= {}, <= {} ", group(1), group(11)), 1);
    }
    let mut alternatives = Vec::new();
    for alternative in source.split("||") {
        if !patterns.valid.is_match(alternative) {
            return Err(format!("improper constraint: {alternative}"));
        }
        let all: Result<Vec<_>, _> =
            patterns.find.find_iter(alternative).map(|found| Constraint::parse(found.as_str())).collect();
        alternatives.push(all?);
    }
    let version = Version::parse(text(&args[1]))?;
    Ok(Value::Bool(alternatives.iter().any(|all| all.iter().all(|constraint| constraint.holds(&version)))))
}

/// A version as a value: its methods are fields that hold functions.
pub(super) fn parsed(args: &[Value]) -> Result<Value, String> {
    let version = Version::parse(text(&args[0]))?;
    let number = |i: usize| Value::Int64(i64::try_from(version.numbers[i]).unwrap_or(i64::MAX));
    let methods = [
        ("Major", number(0)),
        ("Minor", number(1)),
        ("Patch", number(2)),
        ("Prerelease", Value::str(version.pre.as_str())),
        ("Metadata", Value::str(version.metadata.as_str())),
        ("Original", args[0].clone()),
        ("String", Value::str(version.text())),
    ];
    let methods = methods.into_iter().map(|(name, value)| (name, Value::Func(Func::Constant(Box::new(value)))));
    Ok(Value::structure(TYPE, methods))
}

/// The text of a value that [`parsed`] made: how JSON and `%v` show it.
pub(crate) fn text_of(map: &Map) -> Option<&str> {
    match (map.kind, map.entries.get("String")) {
        (MapKind::Struct(TYPE), Some(Value::Func(Func::Constant(text)))) => text.as_str(),
        _ => None,
    }
}
