//! time.Time: an instant together with the zone it is shown in.

use jiff::{Timestamp, Zoned, tz::TimeZone};
use std::sync::Arc;

/// Where a time is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Zone {
    /// UTC (and Go's Local: controllers run in UTC).
    Utc,
    /// A fixed offset in seconds east, with the abbreviation the text had, if any.
    Fixed(i32, Option<Arc<str>>),
    /// A zone of the time zone database, by name.
    Named(Arc<str>, TimeZone),
}

impl Zone {
    /// `time.LoadLocation`: `UTC`, an empty text and `Local` are UTC; None for an unknown name.
    pub fn load(name: &str) -> Option<Self> {
        match name {
            "" | "UTC" | "Local" => Some(Self::Utc),
            _ => TimeZone::get(name).ok().map(|tz| Self::Named(name.into(), tz)),
        }
    }

    /// The name as `Location.String` gives it.
    pub fn name(&self) -> &str {
        match self {
            Self::Utc => "UTC",
            Self::Fixed(_, name) => name.as_deref().unwrap_or(""),
            Self::Named(name, _) => name,
        }
    }

    pub(crate) fn time_zone(&self) -> TimeZone {
        match self {
            Self::Utc => TimeZone::UTC,
            Self::Fixed(seconds, _) => {
                jiff::tz::Offset::from_seconds(*seconds).map_or(TimeZone::UTC, |offset| offset.to_time_zone())
            }
            Self::Named(_, zone) => zone.clone(),
        }
    }
}

/// An instant and its zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Time {
    /// The instant.
    pub instant: Timestamp,
    /// The zone it is shown in.
    pub zone: Zone,
}

impl Time {
    /// The instant, shown in UTC.
    pub fn utc(instant: Timestamp) -> Self {
        Self { instant, zone: Zone::Utc }
    }

    /// Go's zero time: January 1 of year 1, UTC.
    pub fn zero() -> Self {
        Self::utc(Timestamp::from_second(-62_135_596_800).unwrap_or(Timestamp::MIN))
    }

    pub(crate) fn zoned(&self) -> Zoned {
        self.instant.to_zoned(self.zone.time_zone())
    }

    /// The offset from UTC in seconds.
    pub(crate) fn offset(&self) -> i32 {
        self.zone.time_zone().to_offset(self.instant).seconds()
    }

    /// The zone's abbreviation at this time, as Go shows it for `MST`.
    pub(crate) fn abbreviation(&self) -> String {
        match &self.zone {
            Zone::Utc => "UTC".to_owned(),
            Zone::Fixed(_, Some(name)) => name.to_string(),
            Zone::Fixed(seconds, None) => {
                let (sign, value) = if *seconds < 0 { ('-', -seconds) } else { ('+', *seconds) };
                let (hours, minutes) = (value / 3600, value % 3600 / 60);
                if minutes == 0 { format!("{sign}{hours:02}") } else { format!("{sign}{hours:02}{minutes:02}") }
            }
            Zone::Named(_, zone) => zone.to_offset_info(self.instant).abbreviation().to_owned(),
        }
    }

    /// The instant `nanoseconds` later, in the same zone; saturates at the ends of the calendar.
    pub(crate) fn plus(&self, nanoseconds: i64) -> Self {
        let span = jiff::SignedDuration::from_nanos(nanoseconds);
        let end = if nanoseconds < 0 { Timestamp::MIN } else { Timestamp::MAX };
        Self { instant: self.instant.checked_add(span).unwrap_or(end), zone: self.zone.clone() }
    }

    /// Nanoseconds from `other` to this time, clamped to a Go Duration.
    pub(crate) fn minus(&self, other: &Self) -> i64 {
        let difference = self.instant.as_nanosecond() - other.instant.as_nanosecond();
        difference.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64
    }

    /// `Time.String`.
    pub(crate) fn text(&self) -> String {
        super::format_time("2006-01-02 15:04:05.999999999 -0700 MST", self)
    }

    /// As encoding/json writes it: RFC 3339 with the nanoseconds that there are.
    pub(crate) fn rfc3339(&self) -> String {
        super::format_time("2006-01-02T15:04:05.999999999Z07:00", self)
    }
}
