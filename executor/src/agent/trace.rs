//! What the libraries below tell through `tracing`, and the agent itself: events as lines of the executor's log, spans for the
//! collector that OpenTelemetry's variables name.
//!
//! The Pod says which span those of this process come below (`TRACEPARENT`). They are kept until the work is done and sent then, once:
//! a collector that is away costs a step no more than [`WITHIN`]. Without a collector or a trace there are no spans.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt::{Debug, Write};
use std::fs;
use std::num::NonZero;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, SystemTime};

use tiphys_contract::{SpanId, TraceParent, env};
use tiphys_otlp::{Exporter, Kind, Outcome, Resource, Settings, Signal, Span, Value};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use super::connection::block_on;
use crate::log::{self, Level};
use crate::paths::Paths;

/// `service.name` where the environment has none. argo: workflow/executor/executor.go
const SERVICE: &str = "argoexec";
/// How long a collector may take, unless OTEL_EXPORTER_OTLP_TIMEOUT says otherwise: a step waits for it.
const WITHIN: Duration = Duration::from_secs(2);
/// Spans of one process that are kept.
const MOST: usize = 4096;

/// Spans of this process, where any are told.
static SPANS: OnceLock<Recorder> = OnceLock::new();

thread_local! {
    /// The spans that are entered on this thread, the innermost last.
    static ENTERED: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
}

/// Begins to pass events on, and to keep spans below one that is called so, where there is somebody to tell them.
pub fn begin(paths: &Paths, command: Option<&str>, variable: impl Fn(&str) -> Option<String>) {
    // One that is there already stays.
    let _ = tracing::subscriber::set_global_default(Passing);
    let root = match command {
        Some("init" | "artifact-plugin-init") => "runInitContainer",
        Some("wait") => "runWaitContainer",
        Some("supervisor") => "runSupervisorContainer",
        Some("resource" | "data") => "runMainContainer",
        _ => return,
    };
    match Recorder::of(paths, root, variable) {
        Ok(Some(recorder)) => drop(SPANS.set(recorder)),
        Ok(None) => {}
        // What is wrong with it must not keep a step from running.
        Err(error) => tracing::warn!("nothing is traced: {error}"),
    }
    // Spans that were looked at before are looked at again.
    tracing::callsite::rebuild_interest_cache();
}

/// The work is done: what was kept is sent.
pub fn finish(failure: Option<&str>) {
    let Some(recorder) = SPANS.get() else { return };
    let spans = recorder.finished(failure);
    let sent = block_on(async { recorder.exporter.spans(&spans).await.map_err(|error| error.to_string()) });
    if let Err(error) = sent {
        tracing::warn!("{} spans are not told: {error}", spans.len());
    }
}

/// The user's container has ended, as its emissary's files tell: who runs beside it tells its span.
pub fn main_has_run(container: &str, start: SystemTime, end: SystemTime, code: i32) {
    let Some(recorder) = SPANS.get() else { return };
    let id = recorder.above.of_main(container).span;
    let outcome = match code {
        0 => Outcome::Ok,
        code => Outcome::Failed(format!("exit code {code}")),
    };
    let mut attributes = recorder.attributes.clone();
    attributes.push(("container_name", container.into()));
    recorder.keep(recorder.span(id, recorder.above.span, "runMainContainer", (start, end), attributes, outcome));
}

/// Spans that have begun, and those that are over.
struct Recorder {
    exporter: Exporter,
    /// What the root comes below.
    above: TraceParent,
    state: String,
    root: (SpanId, &'static str, SystemTime),
    /// The workflow's name and namespace.
    attributes: Vec<(&'static str, Value)>,
    next: AtomicU64,
    open: Mutex<HashMap<u64, Open>>,
    done: Mutex<Vec<Span>>,
}

/// A span that has begun.
struct Open {
    id: SpanId,
    parent: SpanId,
    name: &'static str,
    start: SystemTime,
    told: Told,
    handles: usize,
}

/// What is told of a span beside its name.
#[derive(Default)]
struct Told {
    attributes: Vec<(&'static str, Value)>,
    /// What the field `error` says.
    failure: Option<String>,
}

impl Recorder {
    fn of(
        paths: &Paths,
        name: &'static str,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Option<Recorder>, String> {
        let text = |error: &dyn std::fmt::Display| error.to_string();
        // A command of ours in the place of the user's has its own span already, by its emissary.
        let outer = variable(env::OUTER_TRACEPARENT).filter(|_| name == "runMainContainer");
        let own = variable(env::TRACEPARENT).and_then(|text| TraceParent::parse(&text));
        let above = outer.as_deref().and_then(TraceParent::parse).or(own);
        let Some(above) = above.filter(|above| above.sampled) else { return Ok(None) };
        let Some(settings) = Settings::of(Signal::Traces, &variable).map_err(|error| text(&error))? else {
            return Ok(None);
        };
        let resource = Resource::of(SERVICE, &variable).map_err(|error| text(&error))?;
        let exporter = Exporter::new(settings, &resource).map_err(|error| text(&error))?.within(WITHIN);
        let start = SystemTime::now();
        let id = match own {
            Some(own) if outer.is_some() => own.span,
            _ => unique(above.span, name, start, 0),
        };
        let namespace = fs::read_to_string(paths.service_account.join("namespace")).unwrap_or_default();
        let workflow = variable(env::WORKFLOW_NAME).unwrap_or_default();
        Ok(Some(Recorder {
            exporter,
            above,
            state: variable(env::TRACESTATE).unwrap_or_default(),
            root: (id, name, start),
            attributes: vec![("name", workflow.into()), ("namespace", namespace.trim().into())],
            next: AtomicU64::new(1),
            open: Mutex::default(),
            done: Mutex::default(),
        }))
    }

    fn open(&self) -> MutexGuard<'_, HashMap<u64, Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn span(
        &self,
        id: SpanId,
        parent: SpanId,
        name: &'static str,
        (start, end): (SystemTime, SystemTime),
        attributes: Vec<(&'static str, Value)>,
        outcome: Outcome,
    ) -> Span {
        let (trace, state, parent) = (self.above.trace, self.state.clone(), Some(parent));
        Span { trace, state, id, parent, name, kind: Kind::Internal, start, end, attributes, outcome }
    }

    fn keep(&self, span: Span) {
        let mut done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        if done.len() < MOST {
            done.push(span);
        }
    }

    /// All that are over, the root last.
    fn finished(&self, failure: Option<&str>) -> Vec<Span> {
        let mut done = std::mem::take(&mut *self.done.lock().unwrap_or_else(PoisonError::into_inner));
        let (id, name, start) = self.root;
        let outcome = failure.map_or(Outcome::Ok, |reason| Outcome::Failed(reason.to_owned()));
        let times = (start, SystemTime::now());
        done.push(self.span(id, self.above.span, name, times, self.attributes.clone(), outcome));
        done
    }

    fn begin(&self, attributes: &Attributes<'_>) -> Id {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let innermost = || ENTERED.with_borrow(|entered| entered.last().copied());
        let parent = match attributes.parent() {
            Some(parent) => Some(parent.into_u64()),
            None if attributes.is_contextual() => innermost(),
            None => None,
        };
        let (name, start) = (attributes.metadata().name(), SystemTime::now());
        let mut told = Told::default();
        attributes.record(&mut told);
        let mut open = self.open();
        let parent = parent.and_then(|parent| open.get(&parent)).map_or(self.root.0, |parent| parent.id);
        let id = unique(parent, name, start, number);
        open.insert(number, Open { id, parent, name, start, told, handles: 1 });
        Id::from_non_zero_u64(NonZero::new(number).unwrap_or(NonZero::<u64>::MIN))
    }

    fn end(&self, id: &Id) -> bool {
        let mut open = self.open();
        let Some(span) = open.get_mut(&id.into_u64()) else { return false };
        span.handles -= 1;
        if span.handles > 0 {
            return false;
        }
        let Some(Open { id, parent, name, start, told, .. }) = open.remove(&id.into_u64()) else { return false };
        drop(open);
        let outcome = told.failure.map_or(Outcome::Unset, Outcome::Failed);
        self.keep(self.span(id, parent, name, (start, SystemTime::now()), told.attributes, outcome));
        true
    }
}

/// The id of something that may happen again.
fn unique(parent: SpanId, name: &str, start: SystemTime, number: u64) -> SpanId {
    let nanos = start.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_nanos();
    let place = format!("{parent} {nanos} {} {number}", std::process::id());
    SpanId::of(&[&place, name])
}

/// Passes events on to the log, and spans to who keeps them.
struct Passing;

fn level(metadata: &Metadata<'_>) -> Level {
    match *metadata.level() {
        tracing::Level::ERROR => Level::Error,
        tracing::Level::WARN => Level::Warn,
        tracing::Level::INFO => Level::Info,
        tracing::Level::DEBUG | tracing::Level::TRACE => Level::Debug,
    }
}

impl Subscriber for Passing {
    /// Libraries of others tell their inner life, and perhaps what is secret: only what is ours is passed on.
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let wanted = if metadata.is_event() { log::shows(level(metadata)) } else { SPANS.get().is_some() };
        wanted && metadata.target().starts_with("tiphys")
    }

    fn event(&self, event: &Event<'_>) {
        let mut text = Text::default();
        event.record(&mut text);
        log::line(level(event.metadata()), &(text.message + &text.fields));
    }

    fn new_span(&self, attributes: &Attributes<'_>) -> Id {
        SPANS.get().map_or_else(|| Id::from_u64(1), |recorder| recorder.begin(attributes))
    }

    fn record(&self, id: &Id, values: &Record<'_>) {
        if let Some(open) = SPANS.get().map(Recorder::open).as_mut().and_then(|open| open.get_mut(&id.into_u64())) {
            values.record(&mut open.told);
        }
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, id: &Id) {
        ENTERED.with_borrow_mut(|entered| entered.push(id.into_u64()));
    }

    fn exit(&self, id: &Id) {
        ENTERED.with_borrow_mut(|entered| {
            if let Some(at) = entered.iter().rposition(|one| *one == id.into_u64()) {
                entered.remove(at);
            }
        });
    }

    fn clone_span(&self, id: &Id) -> Id {
        if let Some(open) = SPANS.get().map(Recorder::open).as_mut().and_then(|open| open.get_mut(&id.into_u64())) {
            open.handles += 1;
        }
        id.clone()
    }

    fn try_close(&self, id: Id) -> bool {
        SPANS.get().is_some_and(|recorder| recorder.end(&id))
    }
}

/// An event's message, and its other fields behind it.
#[derive(Default)]
struct Text {
    message: String,
    fields: String,
}

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        // Writing to a text does not fail.
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
    }
}

impl Visit for Told {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let text = format!("{value:?}");
        match field.name() {
            "error" => self.failure = Some(text),
            name => self.attributes.push((name, text.into())),
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }
}
