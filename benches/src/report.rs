//! The figures as they are printed.

use crate::controller::Figures;

/// Lines in the order in which they were measured.
#[derive(Default)]
pub struct Report(Vec<String>);

impl Report {
    /// A figure, and what part it is of another.
    pub fn add(&mut self, what: &str, figure: f64, part: Option<(&str, f64)>) {
        let part = part.map(|(of, part)| format!("   {:.0} % {of}", part * 100.0)).unwrap_or_default();
        self.0.push(format!("{what:<52} {figure:>9.1}{part}"));
    }

    /// What it has cost between two moments.
    pub fn costs(&mut self, before: &Figures, after: &Figures, pods: usize) {
        let pods = pods as f64;
        let cpu = after.cpu_seconds - before.cpu_seconds;
        self.add("  controller's processor time, ms a Pod", cpu * 1000.0 / pods, None);
        self.add("  controller's memory, MiB", after.memory_mib, None);
        let mut requests: Vec<(String, f64)> = after
            .requests
            .iter()
            .map(|(key, count)| (key.clone(), (count - before.requests.get(key).copied().unwrap_or_default()) / pods))
            .filter(|(_, count)| *count >= 0.005)
            .collect();
        requests.sort_by(|one, other| other.1.total_cmp(&one.1));
        let all: f64 = requests.iter().map(|(_, count)| count).sum();
        self.add("  requests a Pod", all, None);
        let list: Vec<String> = requests.iter().map(|(key, count)| format!("{key} {count:.2}")).collect();
        self.0.push(format!("    {}", list.join(", ")));
    }

    /// How long it took from the end of a Pod to the next.
    pub fn hops(&mut self, before: &Figures, after: &Figures) {
        let earlier = |bound: f64| before.hops.iter().find(|(one, _)| *one == bound).map_or(0.0, |(_, count)| *count);
        let counts: Vec<(f64, f64)> =
            after.hops.iter().map(|(bound, count)| (*bound, count - earlier(*bound))).collect();
        let all = counts.last().map_or(0.0, |(_, count)| *count);
        for (name, part) in [("p50", 0.5), ("p99", 0.99)] {
            let bound = counts.iter().find(|(_, count)| *count >= all * part).map_or(0.0, |(bound, _)| *bound);
            self.add(&format!("  from a Pod's end to the next one's creation, {name}, ms"), bound * 1000.0, None);
        }
    }

    /// Prints them.
    pub fn print(&self) {
        self.0.iter().for_each(|line| println!("{line}"));
    }
}
