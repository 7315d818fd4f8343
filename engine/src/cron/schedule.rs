//! When a schedule is due. argo: github.com/robfig/cron v3, ParseStandard, SpecSchedule.Next, ConstantDelaySchedule.
//!
//! The rules for hours that a change of clocks skips or repeats are that library's, moment by moment: `tests/oracles` has
//! what it gives around such changes.

use jiff::civil::DateTime;
use jiff::tz::{Offset, TimeZone};
use jiff::{SignedDuration, Timestamp, ToSpan as _};

use super::fields::{self, Fields};

/// A schedule: five fields in a time zone, or a period.
#[derive(Clone, Debug)]
pub struct Schedule(When);

#[derive(Clone, Debug)]
enum When {
    Fields(Box<Fields>, TimeZone),
    /// `@every`: whole seconds, at least one.
    Every(SignedDuration),
}

/// Years ahead in which a moment is looked for.
const HORIZON: i16 = 5;

/// What the short names stand for.
const DESCRIPTORS: [(&str, &str); 7] = [
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
    ("@monthly", "0 0 1 * *"),
    ("@weekly", "0 0 * * 0"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@hourly", "0 * * * *"),
];

impl Schedule {
    /// Reads a schedule. `local` is the time zone of one that names none (`CRON_TZ=` or `TZ=` before it).
    ///
    /// # Errors
    /// What is wrong with it, in the library's words.
    pub fn parse(text: &str, local: &TimeZone) -> Result<Schedule, String> {
        if text.is_empty() {
            return Err("empty spec string".to_string());
        }
        let (mut text, mut zone) = (text, local.clone());
        if let Some(rest) = text.strip_prefix("CRON_TZ=").or_else(|| text.strip_prefix("TZ=")) {
            let (name, rest) =
                rest.split_once(' ').ok_or_else(|| format!("no schedule follows the time zone {rest}"))?;
            zone = time_zone(name, local).map_err(|wrong| format!("provided bad location {name}: {wrong}"))?;
            text = rest.trim();
        }
        if !text.starts_with('@') {
            return Ok(Schedule(When::Fields(Box::new(fields::parse(text)?), zone)));
        }
        if let Some((_, fields)) = DESCRIPTORS.iter().find(|(name, _)| *name == text) {
            return Ok(Schedule(When::Fields(Box::new(fields::parse(fields)?), zone)));
        }
        let Some(period) = text.strip_prefix("@every ") else { return Err(format!("unrecognized descriptor: {text}")) };
        let nanoseconds = tiphys_expr::go::parse_duration(period)
            .map_err(|wrong| format!("failed to parse duration {text}: {wrong}"))?;
        let seconds = SignedDuration::from_nanos(nanoseconds).as_secs().max(1);
        Ok(Schedule(When::Every(SignedDuration::from_secs(seconds))))
    }

    /// The first moment after another; None where there is none within five years. A period begins at that other moment.
    pub fn next(&self, after: Timestamp) -> Option<Timestamp> {
        match &self.0 {
            When::Fields(fields, zone) => fields.next(zone, whole_second(after)),
            When::Every(period) => whole_second(after).checked_add(*period).ok(),
        }
    }

    /// The first moment after another, where periods are counted from `anchor`.
    pub fn next_from(&self, anchor: Timestamp, after: Timestamp) -> Option<Timestamp> {
        match &self.0 {
            When::Every(period) => {
                let anchor = whole_second(anchor.min(after));
                let passed = after.duration_since(anchor).as_secs() / period.as_secs();
                anchor.checked_add(*period * i32::try_from(passed + 1).ok()?).ok()
            }
            When::Fields(..) => self.next(after),
        }
    }

    /// The last moment that is after `after` and not after `until`, where periods are counted from `anchor`.
    pub fn latest(&self, anchor: Timestamp, after: Timestamp, until: Timestamp) -> Option<Timestamp> {
        if after >= until {
            return None;
        }
        // Looked for further and further back, so that a long time without a look at it costs little.
        let mut back = match &self.0 {
            When::Every(period) => *period,
            When::Fields(..) => SignedDuration::from_mins(1),
        };
        loop {
            let from = until.checked_sub(back).map_or(after, |from| from.max(after));
            if let Some(mut found) = self.next_from(anchor, from).filter(|at| *at <= until) {
                while let Some(later) = self.next_from(anchor, found).filter(|at| *at <= until) {
                    found = later;
                }
                return Some(found);
            }
            if from == after {
                return None;
            }
            back = back.saturating_mul(2);
        }
    }
}

/// A time zone by its name. argo: time.LoadLocation.
///
/// # Errors
/// There is none of that name.
pub fn time_zone(name: &str, local: &TimeZone) -> Result<TimeZone, String> {
    match name {
        "" | "UTC" => Ok(TimeZone::UTC),
        "Local" => Ok(local.clone()),
        name => TimeZone::get(name).map_err(|_| format!("unknown time zone {name}")),
    }
}

fn whole_second(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_nanosecond().div_euclid(1_000_000_000) as i64).unwrap_or(at)
}

/// The moment at which clocks show this, as Go's `time.Date` finds it: shown twice, it is one of the two; skipped, it is
/// shown an hour later or earlier, whichever of the two offsets Go comes upon.
fn moment(zone: &TimeZone, shown: DateTime) -> Option<Timestamp> {
    let as_utc = TimeZone::UTC.to_timestamp(shown).ok()?;
    let guess = as_utc.checked_sub(seconds(zone.to_offset(as_utc))).ok()?;
    as_utc.checked_sub(seconds(zone.to_offset(guess))).ok()
}

fn seconds(offset: Offset) -> SignedDuration {
    SignedDuration::from_secs(offset.seconds().into())
}

/// A walk over time: forward until every field matches.
struct Walk<'z> {
    zone: &'z TimeZone,
    at: Timestamp,
    /// Whether it is at the beginning of a month, day, hour or minute.
    aligned: bool,
}

impl Walk<'_> {
    fn shown(&self) -> DateTime {
        self.zone.to_datetime(self.at)
    }

    /// Goes back to where this is shown, once: after that every step leads to a beginning.
    fn align(&mut self, beginning: impl FnOnce(DateTime) -> DateTime) -> Option<()> {
        if !self.aligned {
            self.aligned = true;
            self.at = moment(self.zone, beginning(self.shown()))?;
        }
        Some(())
    }

    fn pass(&mut self, time: SignedDuration) -> Option<()> {
        self.at = self.at.checked_add(time).ok()?;
        Some(())
    }

    /// Midnight of the next day, or the hour that is nearest to it where clocks skip it. Where a whole day is skipped
    /// (Pacific/Apia on 2011-12-30), the library never comes to an end; here it is the day after.
    fn next_day(&mut self) -> Option<()> {
        let shown = self.shown();
        let tomorrow = moment(self.zone, shown.checked_add(1.day()).ok()?)?;
        self.at = match tomorrow > self.at {
            true => tomorrow,
            false => moment(self.zone, shown.checked_add(2.days()).ok()?)?,
        };
        let hour = i64::from(self.shown().hour());
        let correction = if hour > 12 { 24 - hour } else { -hour };
        self.pass(SignedDuration::from_hours(correction))
    }
}

fn first_of_month(shown: DateTime) -> DateTime {
    shown.date().first_of_month().at(0, 0, 0, 0)
}

fn hour_of(shown: DateTime) -> DateTime {
    shown.date().at(shown.hour(), 0, 0, 0)
}

impl Fields {
    /// The first moment after a whole second at which clocks in the zone show what the fields ask for.
    fn next(&self, zone: &TimeZone, after: Timestamp) -> Option<Timestamp> {
        if self.never() {
            return None;
        }
        let mut walk = Walk { zone, at: after, aligned: false };
        walk.pass(SignedDuration::from_secs(1))?;
        let last_year = walk.shown().year().saturating_add(HORIZON);
        // Each loop brings one field forward; where that begins a larger unit, all are looked at again.
        'again: while walk.shown().year() <= last_year {
            while !self.has_month(walk.shown()) {
                walk.align(first_of_month)?;
                walk.at = moment(zone, walk.shown().checked_add(1.month()).ok()?)?;
                if walk.shown().month() == 1 {
                    continue 'again;
                }
            }
            while !self.has_day(walk.shown()) {
                walk.align(|shown| shown.date().at(0, 0, 0, 0))?;
                walk.next_day()?;
                if walk.shown().day() == 1 {
                    continue 'again;
                }
            }
            while !self.has_hour(walk.shown()) {
                walk.align(hour_of)?;
                walk.pass(SignedDuration::from_hours(1))?;
                if walk.shown().hour() == 0 {
                    continue 'again;
                }
            }
            while !self.has_minute(walk.shown()) {
                walk.truncate(60);
                walk.pass(SignedDuration::from_mins(1))?;
                if walk.shown().minute() == 0 {
                    continue 'again;
                }
            }
            if walk.shown().second() != 0 {
                walk.truncate(1);
                let left = 60 - i64::from(walk.shown().second());
                walk.pass(SignedDuration::from_secs(left))?;
                continue 'again;
            }
            return Some(walk.at);
        }
        None
    }
}

impl Walk<'_> {
    /// Goes back to a multiple of so many seconds since the epoch, once.
    fn truncate(&mut self, seconds: i64) {
        if !self.aligned {
            self.aligned = true;
            let second = self.at.as_second();
            self.at = Timestamp::from_second(second - second.rem_euclid(seconds)).unwrap_or(self.at);
        }
    }
}
