//! The five fields of a schedule: minute, hour, day of the month, month, day of the week.

use jiff::civil::DateTime;

/// A field's bounds, and words for its numbers.
struct Field {
    least: u32,
    most: u32,
    words: &'static [&'static str],
    /// The number of the first word.
    first: u32,
}

const MONTHS: &[&str] = &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const DAYS: &[&str] = &["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

const FIELDS: [Field; 5] = [
    Field { least: 0, most: 59, words: &[], first: 0 },
    Field { least: 0, most: 23, words: &[], first: 0 },
    Field { least: 1, most: 31, words: &[], first: 0 },
    Field { least: 1, most: 12, words: MONTHS, first: 1 },
    Field { least: 0, most: 6, words: DAYS, first: 0 },
];

/// What a field allows.
#[derive(Clone, Copy, Debug, Default)]
struct Allowed {
    /// A bit for each number.
    bits: u64,
    /// It says nothing: `*` or `?` without a step.
    any: bool,
}

impl Allowed {
    fn has(self, number: i8) -> bool {
        u32::try_from(number).is_ok_and(|number| self.bits & (1 << number) != 0)
    }
}

/// What all fields allow.
#[derive(Clone, Debug)]
pub(super) struct Fields([Allowed; 5]);

/// Reads the fields. Err: what is wrong with them.
pub(super) fn parse(text: &str) -> Result<Fields, String> {
    let texts: Vec<&str> = text.split_whitespace().collect();
    if texts.len() != FIELDS.len() {
        return Err(format!("expected exactly 5 fields, found {}: [{}]", texts.len(), texts.join(" ")));
    }
    let mut fields = [Allowed::default(); 5];
    for ((text, field), allowed) in texts.iter().zip(&FIELDS).zip(&mut fields) {
        for part in text.split(',').filter(|part| !part.is_empty()) {
            let one = field.parse(part)?;
            allowed.bits |= one.bits;
            allowed.any |= one.any;
        }
    }
    Ok(Fields(fields))
}

impl Fields {
    /// Whether a field allows nothing.
    pub fn never(&self) -> bool {
        self.0.iter().any(|allowed| allowed.bits == 0)
    }

    pub fn has_minute(&self, shown: DateTime) -> bool {
        self.0[0].has(shown.minute())
    }

    pub fn has_hour(&self, shown: DateTime) -> bool {
        self.0[1].has(shown.hour())
    }

    /// Where both the day of the month and that of the week say something, either is enough.
    pub fn has_day(&self, shown: DateTime) -> bool {
        let [_, _, of_month, _, of_week] = self.0;
        let in_month = of_month.has(shown.day());
        let in_week = of_week.has(shown.date().weekday().to_sunday_zero_offset());
        if of_month.any || of_week.any { in_month && in_week } else { in_month || in_week }
    }

    pub fn has_month(&self, shown: DateTime) -> bool {
        self.0[3].has(shown.month())
    }
}

impl Field {
    /// Reads `number`, `number-number` or `*`, each with an optional `/step`.
    fn parse(&self, part: &str) -> Result<Allowed, String> {
        let (range, step) = part.split_once('/').map_or((part, None), |(range, step)| (range, Some(step)));
        let (low, high) = range.split_once('-').map_or((range, None), |(low, high)| (low, Some(high)));
        let any = matches!(low, "*" | "?");
        let (start, mut end) = if any {
            (self.least, self.most)
        } else {
            let start = self.number(low)?;
            match high {
                Some(high) if high.contains('-') => return Err(format!("too many hyphens: {part}")),
                Some(high) => (start, self.number(high)?),
                None => (start, start),
            }
        };
        let mut every = 1;
        if let Some(step) = step {
            if step.contains('/') {
                return Err(format!("too many slashes: {part}"));
            }
            every = integer(step)?;
            if high.is_none() {
                end = self.most;
            }
        }
        let (least, most) = (self.least, self.most);
        if start < least {
            Err(format!("beginning of range ({start}) below minimum ({least}): {part}"))
        } else if end > most {
            Err(format!("end of range ({end}) above maximum ({most}): {part}"))
        } else if start > end {
            Err(format!("beginning of range ({start}) beyond end of range ({end}): {part}"))
        } else if every == 0 {
            Err(format!("step of range should be a positive number: {part}"))
        } else {
            let numbers = (start..=end).step_by(every.min(64) as usize);
            let bits = numbers.fold(0, |bits, number| bits | 1 << number);
            Ok(Allowed { bits, any: any && every == 1 })
        }
    }

    fn number(&self, text: &str) -> Result<u32, String> {
        let word = self.words.iter().zip(self.first..).find(|(word, _)| word.eq_ignore_ascii_case(text));
        word.map_or_else(|| integer(text), |(_, number)| Ok(number))
    }
}

fn integer(text: &str) -> Result<u32, String> {
    let number: i64 = text
        .parse()
        .map_err(|_| format!("failed to parse int from {text}: strconv.Atoi: parsing {text:?}: invalid syntax"))?;
    if number < 0 {
        return Err(format!("negative number ({number}) not allowed: {text}"));
    }
    Ok(u32::try_from(number).unwrap_or(u32::MAX))
}
