//! Cron schedules, as far as to say what is wrong with one. argo: github.com/robfig/cron v3, ParseStandard.

use jiff::tz::TimeZone;
use tiphys_expr::go::parse_duration;

/// A field's name in the order of a schedule, its bounds, and words for its numbers.
struct Field {
    least: i64,
    most: i64,
    words: &'static [&'static str],
    /// The number of the first word.
    first: i64,
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

const DESCRIPTORS: &[&str] = &["@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly"];

/// Checks a schedule. Err: what is wrong with it.
pub(super) fn check(schedule: &str) -> Result<(), String> {
    if schedule.is_empty() {
        return Err("empty spec string".to_string());
    }
    let mut schedule = schedule;
    if let Some(rest) = schedule.strip_prefix("CRON_TZ=").or_else(|| schedule.strip_prefix("TZ=")) {
        let (zone, rest) = rest.split_once(' ').ok_or_else(|| format!("no schedule follows the time zone {rest}"))?;
        check_timezone(zone).map_err(|wrong| format!("provided bad location {zone}: {wrong}"))?;
        schedule = rest.trim();
    }
    if schedule.starts_with('@') {
        return match schedule.strip_prefix("@every ") {
            Some(duration) => match parse_duration(duration) {
                Ok(_) => Ok(()),
                Err(wrong) => Err(format!("failed to parse duration {schedule}: {wrong}")),
            },
            None if DESCRIPTORS.contains(&schedule) => Ok(()),
            None => Err(format!("unrecognized descriptor: {schedule}")),
        };
    }
    let fields: Vec<&str> = schedule.split_whitespace().collect();
    if fields.len() != FIELDS.len() {
        return Err(format!("expected exactly 5 fields, found {}: [{}]", fields.len(), fields.join(" ")));
    }
    let mut parts = fields.iter().zip(&FIELDS).flat_map(|(text, field)| text.split(',').map(move |part| (part, field)));
    parts.try_for_each(|(part, field)| if part.is_empty() { Ok(()) } else { field.check(part) })
}

/// Checks the name of a time zone; empty is the local one.
pub(super) fn check_timezone(zone: &str) -> Result<(), String> {
    let known = matches!(zone, "" | "UTC" | "Local") || TimeZone::get(zone).is_ok();
    if known { Ok(()) } else { Err(format!("unknown time zone {zone}")) }
}

impl Field {
    /// Checks `number`, `number-number` or `*`, each with an optional `/step`.
    fn check(&self, part: &str) -> Result<(), String> {
        let (range, step) = part.split_once('/').map_or((part, None), |(range, step)| (range, Some(step)));
        let (low, high) = range.split_once('-').map_or((range, None), |(low, high)| (low, Some(high)));
        let (start, mut end) = if matches!(low, "*" | "?") {
            (self.least, self.most)
        } else {
            let start = self.number(low)?;
            match high {
                Some(high) if high.contains('-') => {
                    self.number(high.split('-').next().unwrap_or_default()).ok();
                    return Err(format!("too many hyphens: {part}"));
                }
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
            Ok(())
        }
    }

    fn number(&self, text: &str) -> Result<i64, String> {
        let word = self.words.iter().zip(self.first..).find(|(word, _)| word.eq_ignore_ascii_case(text));
        word.map_or_else(|| integer(text), |(_, number)| Ok(number))
    }
}

fn integer(text: &str) -> Result<i64, String> {
    let number: i64 = text
        .parse()
        .map_err(|_| format!("failed to parse int from {text}: strconv.Atoi: parsing {text:?}: invalid syntax"))?;
    if number < 0 { Err(format!("negative number ({number}) not allowed: {text}")) } else { Ok(number) }
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn what_is_wrong_is_said() {
        let cases = [
            ("", "empty spec string"),
            ("* * * *", "expected exactly 5 fields, found 4: [* * * *]"),
            ("60 * * * *", "end of range (60) above maximum (59): 60"),
            ("0 0 0 * *", "beginning of range (0) below minimum (1): 0"),
            ("0 0 * * 5-1", "beginning of range (5) beyond end of range (1): 5-1"),
            ("*/0 * * * *", "step of range should be a positive number: */0"),
            ("0 0 * january *", "failed to parse int from january: strconv.Atoi: parsing \"january\": invalid syntax"),
            ("1-2-3 * * * *", "too many hyphens: 1-2-3"),
            ("1/2/3 * * * *", "too many slashes: 1/2/3"),
            ("@every soon", "failed to parse duration @every soon: time: invalid duration \"soon\""),
            ("@reboot", "unrecognized descriptor: @reboot"),
            ("TZ=Nowhere/City * * * * *", "provided bad location Nowhere/City: unknown time zone Nowhere/City"),
        ];
        for (schedule, wrong) in cases {
            assert_eq!(check(schedule), Err(wrong.to_string()), "{schedule}");
        }
    }

    #[test]
    fn what_is_right_is_accepted() {
        for schedule in [
            "* * * * *",
            "*/15 0-23/6 1,15 JAN-mar MON-FRI",
            "5/10 * ? * ?",
            "@hourly",
            "@every 1h30m",
            "CRON_TZ=Europe/Berlin 0 8 * * 1-5",
            "  0 0 * * *  ",
        ] {
            assert_eq!(check(schedule), Ok(()), "{schedule}");
        }
    }
}
