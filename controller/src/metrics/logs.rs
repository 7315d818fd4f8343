//! How much is logged, by level. argo: counter_log.go.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus::core::{Collector, Desc};
use prometheus::proto::{MetricFamily, MetricType};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer};

use super::{PREFIX, sample};

const NAME: &str = "log_messages";
const HELP: &str = "Messages that were logged";

const LEVELS: [(Level, &str); 3] = [(Level::ERROR, "error"), (Level::WARN, "warn"), (Level::INFO, "info")];
/// Logging begins before there are metrics, and is one for the whole process.
static COUNTS: [AtomicU64; 3] = [const { AtomicU64::new(0) }; 3];

/// Counts what is logged.
pub struct Counted;

impl<S: Subscriber> Layer<S> for Counted {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let index = LEVELS.iter().position(|(level, _)| level == event.metadata().level());
        if let Some(count) = index.and_then(|index| COUNTS.get(index)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The counts as a metric.
#[derive(Clone)]
pub(super) struct Messages {
    description: Desc,
}

impl Messages {
    pub fn new() -> Messages {
        let (name, labels) = (format!("{PREFIX}{NAME}"), vec!["level".to_owned()]);
        Messages { description: super::constant(Desc::new(name, HELP.to_owned(), labels, HashMap::new())) }
    }
}

impl Collector for Messages {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.description]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let samples = LEVELS.iter().zip(&COUNTS);
        let samples =
            samples.map(|((_, name), count)| sample::counter([("level", *name)], count.load(Ordering::Relaxed) as f64));
        vec![sample::family(NAME, HELP, MetricType::COUNTER, samples.collect())]
    }
}
