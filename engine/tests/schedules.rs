//! Schedules against what the Go library gives. The shared corpus's table is there where the corpus is (`TIPHYS_CORPUS`).

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use tiphys_engine::cron::Schedule;

fn walk(spec: &str, start: &str, count: usize) -> Result<Vec<Option<Timestamp>>, String> {
    let schedule = Schedule::parse(spec, &TimeZone::UTC)?;
    let mut at: Timestamp = start.parse().expect("a moment");
    let mut found = Vec::new();
    for _ in 0..count {
        let next = schedule.next(at);
        found.push(next);
        match next {
            Some(next) => at = next,
            None => break,
        }
    }
    Ok(found)
}

/// Schedules around changes of clocks in many zones, and those that cannot be read.
#[test]
fn recorded() {
    let table = include_str!("../../tests/oracles/schedules.tsv");
    let mut wrong = Vec::new();
    for line in table.lines() {
        let mut columns = line.split('\t');
        let (Some(spec), Some(start), Some(expected)) = (columns.next(), columns.next(), columns.next()) else {
            panic!("{line}")
        };
        let spec: String = serde_json::from_str(spec).unwrap();
        let got = match walk(&spec, start, 5) {
            Err(reason) => serde_json::to_string(&reason).unwrap(),
            Ok(found) => {
                let found = found.iter().map(|at| at.map_or("never".to_string(), |at| at.to_string()));
                found.collect::<Vec<_>>().join(" ")
            }
        };
        if got != expected.trim() {
            wrong.push(format!("{spec:?} from {start}\n  expected {expected}\n  got      {got}"));
        }
    }
    assert!(table.lines().count() > 2000);
    assert!(wrong.is_empty(), "{} rows differ:\n{}", wrong.len(), wrong.join("\n"));
}

fn corpus() -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/corpus");
    let file = std::env::var_os("TIPHYS_CORPUS").map_or_else(beside, PathBuf::from).join("oracles/cron.tsv");
    file.is_file().then_some(file)
}

/// The corpus's table: eight times from one moment, `NONE`, or `ERR`.
#[test]
fn corpus_table() {
    const START: &str = "2026-03-07T12:34:56Z";
    let Some(file) = corpus() else { return };
    let table = std::fs::read_to_string(file).unwrap();
    for line in table.lines().filter(|line| !line.is_empty()) {
        let mut columns = line.split('\t');
        let (spec, expected) = (columns.next().unwrap(), columns.next().unwrap().trim());
        let got = match walk(spec, START, 8) {
            Err(_) => "ERR".to_string(),
            Ok(found) if found.first() == Some(&None) => "NONE".to_string(),
            Ok(found) => {
                let found = found.iter().flatten().map(|at| at.strftime("%Y-%m-%dT%H:%M:%S").to_string());
                found.collect::<Vec<_>>().join(" ")
            }
        };
        assert_eq!(got, expected, "{spec}");
    }
}

/// Pacific/Apia had no 30 December in 2011; the Go library never comes to an end there.
#[test]
fn a_day_that_is_left_out() {
    let found = walk("CRON_TZ=Pacific/Apia 0 0 1 * *", "2011-12-29T08:00:00Z", 2).unwrap();
    let found: Vec<String> = found.iter().flatten().map(ToString::to_string).collect();
    assert_eq!(found, ["2011-12-31T10:00:00Z", "2012-01-31T10:00:00Z"]);
}
