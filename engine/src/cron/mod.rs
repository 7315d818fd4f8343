//! Workflows on a schedule: which runs are due, and what becomes of a CronWorkflow. argo: workflow/cron.
//!
//! Everything here is a function of the object, its workflows and the time. A driver asks when to look next
//! ([`Timetable::next`]), then which runs are due ([`Timetable::due`]); [`begin`] says whether one is made, [`reconcile`] what
//! the status has to say of the workflows that are there, [`surplus`] which of them have to go, and [`changes`] what has to be
//! written. A run's name follows from its time, and what was made without being written is found by it: a driver that is killed
//! at any moment makes no run twice.

mod begin;
mod children;
mod fields;
mod schedule;
mod status;
mod timetable;
mod variables;

pub use begin::{Verdict, begin, found, refused, run_name, started};
pub use children::{Child, Surplus, reconcile, surplus};
pub use schedule::{Schedule, time_zone};
pub use status::{changes, is_stopped};
pub use timetable::Timetable;
