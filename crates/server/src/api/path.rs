//! The variable parts of a path.

use axum::extract::Path;
use axum::extract::rejection::PathRejection;

/// What a path names. What is no text names nothing: neither an id nor a token is empty.
pub(super) fn named<T: Default>(path: Result<Path<T>, PathRejection>) -> T {
    path.map_or_else(|_| T::default(), |Path(parts)| parts)
}
