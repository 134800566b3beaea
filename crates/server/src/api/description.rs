//! What a row of the table says of itself: for the OpenAPI document, the page `/docs` and the list of endpoints in the book.

use utoipa::ToSchema;
use utoipa::openapi::{RefOr, Schema};

use crate::json::{Described, RequestBody};

/// What an endpoint does, reads and answers. Who may call it and how often stands beside it in the row, and what follows from that is not
/// said again: 401, 403 of a guard, 422 of a field, 429, 503.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Description {
    /// Its number in the list of endpoints, where it has one.
    pub(crate) number: Option<u8>,
    /// One line: what it does.
    pub(crate) summary: &'static str,
    pub(crate) reads: Reads,
    pub(crate) status: u16,
    /// None for an answer without a body.
    pub(crate) answer: Option<fn() -> Answer>,
    /// The endpoint's own errors.
    pub(crate) problems: &'static [(u16, &'static str)],
    /// What is kept of the client that calls it.
    pub(crate) records: &'static str,
}

/// What of a request an endpoint reads, beside its path.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Reads {
    Nothing,
    Body(fn() -> Described),
    Query(fn() -> Described),
}

/// The body of a success.
#[derive(Clone)]
pub(crate) struct Answer {
    pub(crate) name: String,
    pub(crate) schema: RefOr<Schema>,
    /// The schemas that it refers to.
    pub(crate) parts: Vec<(String, RefOr<Schema>)>,
}

impl Description {
    /// An endpoint that does this; `records` says what is kept of the client that calls it.
    pub(crate) const fn new(summary: &'static str, records: &'static str) -> Self {
        Self { number: None, summary, reads: Reads::Nothing, status: 200, answer: None, problems: &[], records }
    }

    /// With its number in the list of endpoints.
    pub(crate) const fn number(mut self, number: u8) -> Self {
        self.number = Some(number);
        self
    }

    /// Reads a JSON body.
    pub(crate) const fn body<T: RequestBody>(mut self) -> Self {
        self.reads = Reads::Body(Described::of::<T>);
        self
    }

    /// Reads the query.
    pub(crate) const fn query<T: RequestBody>(mut self) -> Self {
        self.reads = Reads::Query(Described::of::<T>);
        self
    }

    /// Answers with this status and body.
    pub(crate) const fn answers<T: ToSchema>(mut self, status: u16) -> Self {
        self.status = status;
        self.answer = Some(Answer::of::<T>);
        self
    }

    /// Answers with this status and no body.
    pub(crate) const fn succeeds_with(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    /// The endpoint's own errors, each with when it comes.
    pub(crate) const fn problems(mut self, problems: &'static [(u16, &'static str)]) -> Self {
        self.problems = problems;
        self
    }
}

impl Answer {
    fn of<T: ToSchema>() -> Self {
        let mut parts = Vec::new();
        T::schemas(&mut parts);
        Self { name: T::name().into_owned(), schema: T::schema(), parts }
    }
}
