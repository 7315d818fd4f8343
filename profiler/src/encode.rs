//! Stacks become the message of a profile.

use std::collections::HashMap;
use std::io::{self, Write as _};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use flate2::Compression;
use flate2::write::GzEncoder;
use prost::Message as _;

use crate::FREQUENCY;
use crate::mappings::Mapping;
use crate::message::{self, Function, Line, Location, Profile, Sample, ValueType};
use crate::symbols::{Names, Symbols};

/// Processor time that a sample stands for, in nanoseconds.
const PERIOD: i64 = 1_000_000_000 / FREQUENCY as i64;

/// How a profile was taken.
pub struct Taken {
    /// When it began.
    pub began: SystemTime,
    /// How long it lasted.
    pub lasted: Duration,
    /// Samples that are not in it.
    pub missed: u64,
}

/// The message.
pub fn profile(taken: &Taken, stacks: &HashMap<Vec<u64>, u64>, mappings: &[Mapping], symbols: &Symbols) -> Profile {
    let mut tables = Tables::new(mappings, symbols);
    let sample = stacks.iter().filter(|(stack, _)| !stack.is_empty()).map(|(stack, count)| {
        let location_id = stack.iter().map(|address| tables.location(*address)).collect();
        let count = i64::try_from(*count).unwrap_or(i64::MAX);
        Sample { location_id, value: vec![count, count.saturating_mul(PERIOD)] }
    });
    let sample = sample.collect();
    let mut value_type = |kind, unit| ValueType { r#type: tables.text(kind), unit: tables.text(unit) };
    let (samples, time) = (value_type("samples", "count"), value_type("cpu", "nanoseconds"));
    let missed = (taken.missed > 0).then(|| format!("{} samples were missed", taken.missed));
    let comments = missed.iter().chain(&symbols.problem);
    let comment = comments.map(|words| tables.text(words)).collect();
    Profile {
        sample_type: vec![samples, time],
        sample,
        mapping: tables.mapping,
        location: tables.location,
        function: tables.function,
        string_table: tables.texts,
        time_nanos: nanos(taken.began.duration_since(UNIX_EPOCH).unwrap_or_default()),
        duration_nanos: nanos(taken.lasted),
        period_type: Some(time),
        period: PERIOD,
        comment,
    }
}

/// The message as it is sent.
pub fn compressed(profile: &Profile) -> io::Result<Vec<u8>> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all(&profile.encode_to_vec())?;
    gzip.finish()
}

fn nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

/// What samples refer to, each entry once.
struct Tables<'a> {
    symbols: &'a Symbols,
    mapping: Vec<message::Mapping>,
    location: Vec<Location>,
    locations: HashMap<u64, u64>,
    function: Vec<Function>,
    functions: HashMap<&'a str, u64>,
    texts: Vec<String>,
    places: HashMap<String, i64>,
}

impl<'a> Tables<'a> {
    fn new(mappings: &[Mapping], symbols: &'a Symbols) -> Tables<'a> {
        let mut tables = Tables {
            symbols,
            mapping: Vec::new(),
            location: Vec::new(),
            locations: HashMap::new(),
            function: Vec::new(),
            functions: HashMap::new(),
            texts: vec![String::new()],
            places: HashMap::from([(String::new(), 0)]),
        };
        // pprof takes the first mapping for the program's own.
        let (own, others): (Vec<&Mapping>, _) = mappings.iter().partition(|mapping| mapping.is_program);
        for (mapping, id) in own.into_iter().chain(others).zip(1..) {
            let build_id = if mapping.is_program { &symbols.build_id } else { "" };
            let mapping = message::Mapping {
                id,
                memory_start: mapping.start,
                memory_limit: mapping.limit,
                file_offset: mapping.offset,
                filename: tables.text(&mapping.path),
                build_id: tables.text(build_id),
                has_functions: mapping.is_program && symbols.problem.is_none(),
            };
            tables.mapping.push(mapping);
        }
        tables
    }

    /// The place of a text.
    fn text(&mut self, text: &str) -> i64 {
        if let Some(place) = self.places.get(text) {
            return *place;
        }
        let place = self.texts.len() as i64;
        self.texts.push(text.to_owned());
        self.places.insert(text.to_owned(), place);
        place
    }

    /// The id of an address.
    fn location(&mut self, address: u64) -> u64 {
        if let Some(id) = self.locations.get(&address) {
            return *id;
        }
        let names = self.symbols.names.get(&address);
        let line = names.map(|names| Line { function_id: self.function(names) }).into_iter().collect();
        let mapping = self.mapping.iter().find(|found| (found.memory_start..found.memory_limit).contains(&address));
        let mapping_id = mapping.map(|found| found.id).unwrap_or_default();
        let id = self.location.len() as u64 + 1;
        self.location.push(Location { id, mapping_id, address, line });
        self.locations.insert(address, id);
        id
    }

    /// The id of a function.
    fn function(&mut self, names: &'a Names) -> u64 {
        if let Some(id) = self.functions.get(names.system_name.as_str()) {
            return *id;
        }
        let id = self.function.len() as u64 + 1;
        let function = Function { id, name: self.text(&names.name), system_name: self.text(&names.system_name) };
        self.function.push(function);
        self.functions.insert(&names.system_name, id);
        id
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: u64 = 0x40_0000;
    const LIBRARY: u64 = 0x7f00_0000_0000;

    fn mapping(start: u64, path: &str, is_program: bool) -> Mapping {
        Mapping { start, limit: start + 0x1000, offset: 0, path: path.into(), is_program }
    }

    #[test]
    fn stacks_locations_and_functions_are_told_once() {
        let names = |name: &str| Names { name: name.into(), system_name: format!("_{name}") };
        let named = [(OWN, names("leaf")), (OWN + 1, names("leaf")), (OWN + 2, names("root"))];
        let symbols = Symbols { names: HashMap::from(named), build_id: "ab".into(), problem: None };
        let stacks = HashMap::from([
            (vec![OWN, OWN + 2], 3),
            (vec![OWN + 1, OWN + 2], 4),
            (vec![LIBRARY + 5, OWN + 2], 5),
            // Of this one nothing was an address.
            (vec![], 6),
        ]);
        let taken = Taken { began: UNIX_EPOCH + Duration::from_secs(1), lasted: Duration::from_secs(2), missed: 7 };
        let mappings = [mapping(LIBRARY, "/lib/c", false), mapping(OWN, "/bin/own", true)];
        let profile = profile(&taken, &stacks, &mappings, &symbols);

        let text = |place: i64| profile.string_table[place as usize].as_str();
        assert_eq!(text(0), "");
        let name = |location: &u64| {
            let location = &profile.location[*location as usize - 1];
            location.line.first().map_or("", |line| text(profile.function[line.function_id as usize - 1].name))
        };
        let mut told: Vec<_> = profile.sample.iter().collect();
        told.sort_by_key(|sample| sample.value[0]);
        let told: Vec<_> = told
            .iter()
            .map(|sample| (sample.location_id.iter().map(name).collect::<Vec<_>>(), sample.value.clone()))
            .collect();
        let expected =
            [("leaf", 3), ("leaf", 4), ("", 5)].map(|(leaf, count)| (vec![leaf, "root"], vec![count, count * PERIOD]));
        assert_eq!(told, expected);
        assert_eq!((profile.location.len(), profile.function.len()), (4, 2));
        let mappings: Vec<_> =
            profile.mapping.iter().map(|found| (text(found.filename), found.has_functions)).collect();
        assert_eq!(mappings, [("/bin/own", true), ("/lib/c", false)]);
        assert_eq!(text(profile.mapping[0].build_id), "ab");
        assert_eq!(profile.comment.iter().map(|place| text(*place)).collect::<Vec<_>>(), ["7 samples were missed"]);
        assert_eq!(
            (profile.time_nanos, profile.duration_nanos, profile.period),
            (1_000_000_000, 2_000_000_000, PERIOD)
        );
    }
}
