//! Spans on their way: whoever tells one does not wait. A task of its own sends them, many at a time; where a collector cannot keep up,
//! spans are left out, and how many is told.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tiphys_contract::TraceId;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::exporter::Exporter;
use crate::sampler::Sampler;
use crate::settings::SettingsError;
use crate::span::Span;

/// Pauses between attempts to send the same spans; after the last they are left out.
const PAUSES: [Duration; 5] = [
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
    Duration::from_secs(8),
    Duration::from_secs(16),
];

/// How spans are gathered. The names are OpenTelemetry's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// The longest that a span waits for others: `OTEL_BSP_SCHEDULE_DELAY`, in milliseconds.
    pub delay: Duration,
    /// Spans that may wait: `OTEL_BSP_MAX_QUEUE_SIZE`.
    pub queue: usize,
    /// Spans of one request: `OTEL_BSP_MAX_EXPORT_BATCH_SIZE`.
    pub batch: usize,
}

impl Default for Pace {
    /// OpenTelemetry's, but for the queue: a workflow of many steps tells of thousands of spans in a moment.
    fn default() -> Pace {
        Pace { delay: Duration::from_secs(5), queue: 16_384, batch: 512 }
    }
}

impl Pace {
    /// Of the environment.
    ///
    /// # Errors
    /// A number that is none.
    pub fn of(variable: impl Fn(&str) -> Option<String>) -> Result<Pace, SettingsError> {
        let number = |name: &str, usual: u64| match variable(name).filter(|text| !text.is_empty()) {
            None => Ok(usual),
            Some(text) => text
                .parse::<u64>()
                .ok()
                .filter(|number| (1..=1_000_000).contains(number))
                .ok_or_else(|| SettingsError(format!("{name} is {text:?}: expected a number from 1 to 1000000"))),
        };
        let usual = Pace::default();
        Ok(Pace {
            delay: Duration::from_millis(number("OTEL_BSP_SCHEDULE_DELAY", usual.delay.as_millis() as u64)?),
            queue: number("OTEL_BSP_MAX_QUEUE_SIZE", usual.queue as u64)? as usize,
            batch: number("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", usual.batch as u64)? as usize,
        })
    }
}

/// Where spans are told. Clones tell the same task.
#[derive(Clone, Debug)]
pub struct Spans {
    to: mpsc::Sender<Span>,
    lost: Arc<AtomicU64>,
    sampler: Sampler,
}

/// The task that sends them.
pub struct Sending {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Spans {
    /// Begins to send, in the runtime that this is called in.
    pub fn begin(exporter: Exporter, pace: Pace, sampler: Sampler) -> (Spans, Sending) {
        let (to, told) = mpsc::channel(pace.queue);
        let (stop, stopped) = oneshot::channel();
        let lost = Arc::new(AtomicU64::new(0));
        let work = Work { exporter, pace, told, lost: lost.clone(), fails: false };
        (Spans { to, lost, sampler }, Sending { stop, task: tokio::spawn(work.run(stopped)) })
    }

    /// Whether spans of this trace are told at all.
    pub fn takes(&self, trace: &TraceId) -> bool {
        self.sampler.takes(trace)
    }

    /// Tells of a span. It is left out where too many wait.
    pub fn tell(&self, span: Span) {
        if self.to.try_send(span).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Sending {
    /// Sends what waits still, once, and ends.
    pub async fn finish(self) {
        // It may have ended by itself.
        let _ = self.stop.send(());
        let _ = self.task.await;
    }
}

struct Work {
    exporter: Exporter,
    pace: Pace,
    told: mpsc::Receiver<Span>,
    lost: Arc<AtomicU64>,
    fails: bool,
}

impl Work {
    async fn run(mut self, mut stopped: oneshot::Receiver<()>) {
        let mut batch = Vec::new();
        let mut stops = false;
        while !stops {
            tokio::select! {
                first = self.told.recv() => match first {
                    Some(span) => batch.push(span),
                    None => return,
                },
                _ = &mut stopped => break,
            }
            let until = Instant::now() + self.pace.delay;
            while batch.len() < self.pace.batch && !stops {
                tokio::select! {
                    next = self.told.recv() => match next {
                        Some(span) => batch.push(span),
                        None => break,
                    },
                    () = tokio::time::sleep_until(until) => break,
                    _ = &mut stopped => stops = true,
                }
            }
            stops |= self.send(&mut batch, &mut stopped, stops).await;
        }
        self.told.close();
        while let Some(span) = self.told.recv().await {
            batch.push(span);
            if batch.len() >= self.pace.batch {
                self.send(&mut batch, &mut stopped, true).await;
            }
        }
        self.send(&mut batch, &mut stopped, true).await;
    }

    /// Sends a batch, again for as long as that may help; once only when this is the end. Tells whether it has become the end.
    async fn send(&mut self, batch: &mut Vec<Span>, stopped: &mut oneshot::Receiver<()>, last: bool) -> bool {
        if batch.is_empty() {
            return last;
        }
        let mut stops = last;
        let mut pauses = PAUSES.into_iter();
        let failure = loop {
            let error = match self.exporter.spans(batch).await {
                Ok(()) => break None,
                Err(error) => error,
            };
            if !std::mem::replace(&mut self.fails, true) {
                tracing::warn!(%error, "spans cannot be sent");
            }
            match pauses.next().filter(|_| error.retry() && !stops) {
                None => break Some(error),
                Some(pause) => tokio::select! {
                    () = tokio::time::sleep(error.after().unwrap_or(pause)) => {}
                    _ = &mut *stopped => stops = true,
                },
            }
        };
        match failure {
            None if std::mem::take(&mut self.fails) => tracing::info!("spans are sent again"),
            None => {}
            Some(_) => drop(self.lost.fetch_add(batch.len() as u64, Ordering::Relaxed)),
        }
        let lost = self.lost.swap(0, Ordering::Relaxed);
        if lost > 0 {
            tracing::warn!(lost, "spans were left out");
        }
        batch.clear();
        stops
    }
}
