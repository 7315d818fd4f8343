//! What a step is charged for: seconds times what its containers asked for. argo: util/resource/duration.go, summary.go.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::quantity;

const MIB: f64 = 1_048_576.0;

/// What a container asks for, in cores, bytes and pieces: requests, else limits, else 100m of CPU and 100Mi of memory.
pub fn requests(limits: &BTreeMap<String, Value>, requests: &BTreeMap<String, Value>) -> BTreeMap<String, f64> {
    let mut asked = BTreeMap::from([("cpu".to_owned(), 0.1), ("memory".to_owned(), 100.0 * MIB)]);
    for (name, value) in limits.iter().chain(requests) {
        if let Some(value) = quantity::parse(value) {
            asked.insert(name.clone(), value);
        }
    }
    asked
}

/// Adds a container's time to a sum. The units are Argo's: a second of a core, of 100 MiB of memory, of 10 GiB of storage,
/// of one of anything else.
pub fn add(sum: &mut BTreeMap<String, i64>, requests: &BTreeMap<String, f64>, seconds: i64) {
    for (name, amount) in requests {
        let unit = match name.as_str() {
            "memory" => 100.0 * MIB,
            "storage" | "ephemeral-storage" => 10.0 * 1024.0 * MIB,
            _ => 1.0,
        };
        *sum.entry(name.clone()).or_default() += (amount * seconds as f64 / unit) as i64;
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn time_is_charged_by_what_was_asked_for() {
        let map = |value: Value| serde_json::from_value(value).unwrap();
        let asked = requests(&map(json!({"cpu": "2", "memory": "1Gi"})), &map(json!({"cpu": "500m"})));
        let mut sum = BTreeMap::new();
        add(&mut sum, &asked, 7);
        add(&mut sum, &requests(&BTreeMap::new(), &BTreeMap::new()), 30);
        assert_eq!(sum, BTreeMap::from([("cpu".to_owned(), 3 + 3), ("memory".to_owned(), 71 + 30)]));
    }
}
