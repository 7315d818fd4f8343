//! All schedules of a CronWorkflow together.

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use tiphys_api::{CronWorkflow, CronWorkflowSpec};

use super::schedule::Schedule;

/// Annotation: the schedules with which runs were last made.
const LAST_USED: &str = "cronworkflows.argoproj.io/last-used-schedule";

/// When runs are due.
#[derive(Clone, Debug)]
pub struct Timetable {
    schedules: Vec<Schedule>,
    text: String,
}

impl Timetable {
    /// Of a spec; `local` is the time zone where it names none.
    ///
    /// # Errors
    /// The first schedule that cannot be read, and why.
    pub fn of(spec: &CronWorkflowSpec, local: &TimeZone) -> Result<Timetable, String> {
        let texts: Vec<String> = spec.schedules.iter().map(|schedule| with_zone(schedule, &spec.timezone)).collect();
        let read = |text: &String| {
            let schedule = Schedule::parse(text, local);
            schedule.map_err(|wrong| format!("cron schedule {text} is malformed: {wrong}"))
        };
        let schedules = texts.iter().map(read).collect::<Result<_, _>>()?;
        Ok(Timetable { schedules, text: texts.join(",") })
    }

    /// Whether no run was made with these schedules yet: then none was missed. argo: IsUsingNewSchedule.
    pub fn is_new(&self, cron: &CronWorkflow) -> bool {
        cron.metadata.annotations.get(LAST_USED).is_none_or(|used| *used != self.text)
    }

    /// Notes that runs are made with these schedules.
    pub fn note(&self, cron: &mut CronWorkflow) {
        cron.metadata.annotations.insert(LAST_USED.into(), self.text.clone());
    }

    /// When to look again, after a moment up to which everything is decided.
    pub fn next(&self, cron: &CronWorkflow, begun: Timestamp, decided: Timestamp) -> Option<Timestamp> {
        let anchor = self.anchor(cron, begun);
        self.schedules.iter().filter_map(|schedule| schedule.next_from(anchor, decided)).min()
    }

    /// The runs that are due, earliest first: of each schedule the last one after `decided`, and where the spec has a
    /// `startingDeadlineSeconds` one that was missed before and is not too late. argo: shouldOutstandingWorkflowsBeRun.
    ///
    /// `begun` is where periods are counted from as long as there was no run; before `settled` nothing is tried again.
    pub fn due(
        &self,
        cron: &CronWorkflow,
        begun: Timestamp,
        (settled, decided): (Timestamp, Timestamp),
        now: Timestamp,
    ) -> Vec<Timestamp> {
        let last = cron.status.last_scheduled_time.map(|time| time.0);
        let deadline = cron.spec.starting_deadline_seconds.map(SignedDuration::from_secs);
        let missed = match (last, deadline) {
            (Some(last), Some(deadline)) if !self.is_new(cron) => {
                let open = now.checked_sub(deadline).unwrap_or(Timestamp::MIN);
                decided.min(last.max(open))
            }
            _ => decided,
        };
        let anchor = self.anchor(cron, begun);
        let after = missed.max(settled);
        let mut due: Vec<Timestamp> =
            self.schedules.iter().filter_map(|schedule| schedule.latest(anchor, after, now)).collect();
        due.sort_unstable();
        due.dedup();
        due
    }

    /// Periods are counted from the last run, so that neither a write of the status nor a restart shifts them.
    fn anchor(&self, cron: &CronWorkflow, begun: Timestamp) -> Timestamp {
        let last = cron.status.last_scheduled_time.filter(|_| !self.is_new(cron));
        last.map_or(begun, |time| time.0)
    }
}

fn with_zone(schedule: &str, zone: &str) -> String {
    if zone.is_empty() { schedule.to_owned() } else { format!("CRON_TZ={zone} {schedule}") }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn cron(schedules: &[&str], deadline: Option<i64>, last: Option<&str>) -> (CronWorkflow, Timetable) {
        let mut cron: CronWorkflow = serde_json::from_value(json!({
            "metadata": {"name": "c"},
            "spec": {"schedules": schedules, "startingDeadlineSeconds": deadline},
            "status": {"lastScheduledTime": last},
        }))
        .unwrap();
        let table = Timetable::of(&cron.spec, &TimeZone::UTC).unwrap();
        table.note(&mut cron);
        (cron, table)
    }

    fn at(time: &str) -> Timestamp {
        format!("2026-03-07T{time}Z").parse().unwrap()
    }

    fn due(of: &(CronWorkflow, Timetable), decided: &str, now: &str) -> Vec<String> {
        let due = of.1.due(&of.0, at("00:00:00"), (Timestamp::MIN, at(decided)), at(now));
        due.iter().map(|at| at.strftime("%H:%M:%S").to_string()).collect()
    }

    #[test]
    fn each_schedule_has_its_last_time() {
        let of = cron(&["0 * * * *", "30 * * * *", "0 0 1 1 *"], None, None);
        assert_eq!(due(&of, "12:00:00", "12:29:59"), [""; 0]);
        assert_eq!(due(&of, "12:00:00", "12:30:00"), ["12:30:00"]);
        assert_eq!(due(&of, "12:00:00", "15:10:00"), ["14:30:00", "15:00:00"]);
        assert_eq!(of.1.next(&of.0, at("00:00:00"), at("12:10:00")), Some(at("12:30:00")));
    }

    #[test]
    fn what_was_missed_counts_within_the_deadline() {
        let last = Some("2026-03-07T10:00:00Z");
        assert_eq!(due(&cron(&["0 * * * *"], Some(600), last), "12:05:00", "12:05:00"), ["12:00:00"]);
        assert_eq!(due(&cron(&["0 * * * *"], Some(600), last), "12:10:01", "12:10:01"), [""; 0]);
        assert_eq!(due(&cron(&["0 * * * *"], None, last), "12:05:00", "12:05:00"), [""; 0]);
        assert_eq!(due(&cron(&["0 * * * *"], Some(600), None), "12:05:00", "12:05:00"), [""; 0]);
        let (mut edited, table) = cron(&["0 * * * *"], Some(600), last);
        edited.metadata.annotations.insert(LAST_USED.into(), "1 * * * *".into());
        assert_eq!(due(&(edited, table), "12:05:00", "12:05:00"), [""; 0]);
    }

    #[test]
    fn what_is_settled_is_not_tried_again() {
        let (cron, table) = cron(&["0 * * * *"], Some(600), Some("2026-03-07T10:00:00Z"));
        let due = |settled| table.due(&cron, at("00:00:00"), (at(settled), at("12:05:00")), at("12:05:00"));
        assert_eq!(due("11:59:59"), [at("12:00:00")]);
        assert_eq!(due("12:00:00"), []);
    }

    #[test]
    fn periods_are_counted_from_the_last_run() {
        let (cron, table) = cron(&["@every 40s"], None, Some("2026-03-07T10:00:00Z"));
        assert_eq!(table.next(&cron, at("10:00:30"), at("10:00:30")), Some(at("10:00:40")));
        assert_eq!(table.next(&cron, at("10:00:30"), at("10:00:40")), Some(at("10:01:20")));
        assert_eq!(
            table.due(&cron, at("10:00:30"), (Timestamp::MIN, at("10:00:30")), at("10:02:10")),
            [at("10:02:00")]
        );
    }
}
