//! Series that are registered once and then only counted.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use metrics::{Counter, Gauge, Histogram, Key, Label, Level, Metadata, Recorder};
use session_manager_core::{AuditKind, Operation};

use crate::names::{EVENTS, NONE, OPERATION_SECONDS, OPERATIONS, describe};

const METADATA: Metadata<'static> = Metadata::new(module_path!(), Level::INFO, Some(module_path!()));

/// Where series are registered.
#[derive(Clone)]
pub(crate) enum Source {
    /// With the recorder of the process, whichever it is when a series is first needed.
    Global,
    /// With this one.
    Own(Arc<dyn Recorder + Send + Sync>),
}

impl Source {
    fn with<T>(&self, register: impl FnOnce(&dyn Recorder) -> T) -> T {
        match self {
            Self::Global => metrics::with_recorder(register),
            Self::Own(recorder) => register(&**recorder),
        }
    }
}

/// What is counted at every request.
struct Usual {
    ok: Counter,
    seconds: Histogram,
}

/// All series of a sink.
pub(crate) struct Series {
    source: Source,
    described: OnceLock<()>,
    operations: [OnceLock<Usual>; Operation::ALL.len()],
    events: [OnceLock<Counter>; AuditKind::ALL.len()],
    /// What is rarer, by its name and its labels' values.
    others: Mutex<HashMap<(&'static str, &'static str, String), Counter>>,
}

impl Series {
    pub(crate) fn new(source: Source) -> Self {
        Self {
            source,
            described: OnceLock::new(),
            operations: [const { OnceLock::new() }; Operation::ALL.len()],
            events: [const { OnceLock::new() }; AuditKind::ALL.len()],
            others: Mutex::default(),
        }
    }

    /// The histogram of an operation and the counter of its successes.
    pub(crate) fn usual(&self, operation: Operation) -> Option<(&Counter, &Histogram)> {
        let number = Operation::ALL.iter().position(|known| *known == operation)?;
        let usual = self.operations.get(number)?.get_or_init(|| {
            let label = || Label::from_static_parts("operation", operation.as_str());
            let ok = vec![label(), Label::from_static_parts("result", "ok")];
            Usual { ok: self.counter(OPERATIONS, ok), seconds: self.histogram(OPERATION_SECONDS, vec![label()]) }
        });
        Some((&usual.ok, &usual.seconds))
    }

    /// The counter of events of a kind that have no reason.
    pub(crate) fn event(&self, kind: AuditKind) -> Option<&Counter> {
        let number = AuditKind::ALL.iter().position(|known| *known == kind)?;
        let labels = || vec![Label::from_static_parts("kind", kind.as_str()), Label::from_static_parts("reason", NONE)];
        Some(self.events.get(number)?.get_or_init(|| self.counter(EVENTS, labels())))
    }

    /// Adds one to a rarer counter with these labels.
    pub(crate) fn count(
        &self,
        name: &'static str,
        first: (&'static str, &'static str),
        second: Option<(&'static str, &str)>,
    ) {
        let value = second.map(|(_, value)| value).unwrap_or_default();
        let mut others = self.others.lock().unwrap_or_else(PoisonError::into_inner);
        let counter = others.entry((name, first.1, value.to_owned())).or_insert_with(|| {
            let mut labels = vec![Label::from_static_parts(first.0, first.1)];
            labels.extend(second.map(|(key, value)| Label::new(key, value.to_owned())));
            self.counter(name, labels)
        });
        counter.increment(1);
    }

    pub(crate) fn gauge(&self, name: &'static str) -> Gauge {
        self.describe();
        self.source.with(|recorder| recorder.register_gauge(&Key::from_static_name(name), &METADATA))
    }

    fn counter(&self, name: &'static str, labels: Vec<Label>) -> Counter {
        self.describe();
        self.source.with(|recorder| recorder.register_counter(&Key::from_parts(name, labels), &METADATA))
    }

    fn histogram(&self, name: &'static str, labels: Vec<Label>) -> Histogram {
        self.describe();
        self.source.with(|recorder| recorder.register_histogram(&Key::from_parts(name, labels), &METADATA))
    }

    fn describe(&self) {
        self.described.get_or_init(|| self.source.with(describe));
    }
}

impl fmt::Debug for Series {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Series")
    }
}
