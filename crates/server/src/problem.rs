//! Error answers: what the endpoints return when they cannot do as asked.

use std::error::Error;

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde::Serialize;
use session_manager_http::{Problem, ProblemType, RETRY_AFTER_OUTAGE, problem_for};
use session_manager_middleware_axum::SessionRejection;

use crate::accounts::{ChangeRefusal, Fault, InvalidToken, PasswordRefusal, Refusal};
use crate::passwords::Violation;
use crate::providers::{self, ProviderFailure};

/// A problem as the error of a handler. The request id is added on the way out.
#[derive(Clone, Debug)]
pub(crate) struct Rejection(Box<Problem>, Vec<FieldError>);

/// What is wrong with one field of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct FieldError {
    pub(crate) field: String,
    pub(crate) message: String,
}

impl Rejection {
    /// One of the service's own problems; `slug` becomes the last part of its type.
    pub(crate) fn new(status: StatusCode, slug: &str, title: &'static str) -> Self {
        Problem::new(status, format!("urn:session-manager:problem:{slug}"), title).into()
    }

    /// With what is particular to this case.
    pub(crate) fn detail(self, detail: impl Into<String>) -> Self {
        Self(Box::new(self.0.with_detail(detail)), self.1)
    }

    /// Several fields of a request are wrong (422, one entry per field).
    pub(crate) fn fields(errors: &[FieldError]) -> Self {
        let list = serde_json::to_value(errors).unwrap_or_default();
        let problem = Problem::of(ProblemType::InvalidInput)
            .with_detail("some fields of the request are missing or wrong")
            .with_extension("errors", list);
        Self(Box::new(problem), errors.to_vec())
    }

    /// A new password breaks rules (400).
    pub(crate) fn weak_password(field: &str, violations: &[Violation]) -> Self {
        let errors: Vec<_> = violations
            .iter()
            .map(|rule| FieldError { field: field.to_owned(), message: rule.message().to_owned() })
            .collect();
        let problem = Self::new(StatusCode::BAD_REQUEST, "weak-password", "Password too weak");
        let problem = problem
            .detail("the password does not keep the rules")
            .0
            .with_extension("errors", serde_json::to_value(&errors).unwrap_or_default())
            .with_extension("violations", serde_json::to_value(violations).unwrap_or_default());
        Self(Box::new(problem), errors)
    }

    /// The problem itself.
    pub(crate) fn problem(&self) -> &Problem {
        &self.0
    }

    /// What is wrong with which field, where that is the reason: for the pages, which show it beside the field.
    pub(crate) fn field_errors(&self) -> &[FieldError] {
        &self.1
    }
}

impl From<Problem> for Rejection {
    fn from(problem: Problem) -> Self {
        Self(Box::new(problem), Vec::new())
    }
}

impl From<session_manager_core::Error> for Rejection {
    fn from(error: session_manager_core::Error) -> Self {
        let problem = problem_for(&error);
        if problem.status().is_server_error() {
            tracing::error!(error = %chain(&error), "the sessions failed");
        }
        problem.into()
    }
}

impl From<SessionRejection> for Rejection {
    fn from(rejection: SessionRejection) -> Self {
        rejection.problem().into()
    }
}

impl From<ProblemType> for Rejection {
    fn from(problem_type: ProblemType) -> Self {
        Problem::of(problem_type).into()
    }
}

impl From<Fault> for Rejection {
    fn from(fault: Fault) -> Self {
        tracing::error!(error = %chain(&fault), "the accounts failed");
        match fault {
            Fault::Storage(_) | Fault::Mail(_) => {
                Problem::of(ProblemType::Unavailable).with_retry_after(RETRY_AFTER_OUTAGE).into()
            }
            Fault::Hashing(_) | Fault::Randomness(_) => ProblemType::Internal.into(),
        }
    }
}

impl From<providers::Fault> for Rejection {
    fn from(fault: providers::Fault) -> Self {
        tracing::error!(error = %chain(&fault), "the connections failed");
        match fault {
            providers::Fault::Storage(_) => {
                Problem::of(ProblemType::Unavailable).with_retry_after(RETRY_AFTER_OUTAGE).into()
            }
            providers::Fault::Vault(_) | providers::Fault::Randomness(_) => ProblemType::Internal.into(),
        }
    }
}

impl From<ProviderFailure> for Rejection {
    /// Says which of a few things happened; what the provider said stays between it and us.
    fn from(failure: ProviderFailure) -> Self {
        let (slug, title) = match failure {
            ProviderFailure::Grant | ProviderFailure::Refused => ("provider-refused", "The provider refused"),
            ProviderFailure::Senseless | ProviderFailure::Unreachable(_) => {
                ("provider-unavailable", "The provider does not answer")
            }
        };
        Self::new(StatusCode::BAD_GATEWAY, slug, title).detail(failure.to_string())
    }
}

impl From<Refusal> for Rejection {
    fn from(refusal: Refusal) -> Self {
        let (status, slug, title) = match refusal {
            Refusal::WrongCredentials => {
                (StatusCode::UNAUTHORIZED, "invalid-credentials", "Wrong e-mail address or password")
            }
            Refusal::Locked { .. } => (StatusCode::FORBIDDEN, "account-locked", "Locked for a while"),
            Refusal::NotVerified => (StatusCode::FORBIDDEN, "email-not-verified", "E-mail address not confirmed"),
            Refusal::Disabled => (StatusCode::FORBIDDEN, "account-disabled", "Account disabled"),
        };
        let rejection = Self::new(status, slug, title).detail(refusal.to_string());
        match refusal {
            Refusal::Locked { retry_after } => rejection.0.with_retry_after(retry_after).into(),
            _ => rejection,
        }
    }
}

impl From<PasswordRefusal> for Rejection {
    fn from(refusal: PasswordRefusal) -> Self {
        match refusal {
            PasswordRefusal::Weak(violations) => Self::weak_password("password", &violations),
            PasswordRefusal::Fault(fault) => fault.into(),
        }
    }
}

impl From<ChangeRefusal> for Rejection {
    fn from(refusal: ChangeRefusal) -> Self {
        let bad = |slug, title| Self::new(StatusCode::BAD_REQUEST, slug, title);
        match refusal {
            ChangeRefusal::Current(Refusal::WrongCredentials) => {
                bad("wrong-password", "Wrong password").detail("the current password is wrong")
            }
            ChangeRefusal::Current(other) => other.into(),
            ChangeRefusal::Same => bad("same-password", "Same password").detail("the new password is the current one"),
            ChangeRefusal::New(PasswordRefusal::Weak(violations)) => Self::weak_password("new_password", &violations),
            ChangeRefusal::New(PasswordRefusal::Fault(fault)) => fault.into(),
        }
    }
}

impl From<InvalidToken> for Rejection {
    fn from(invalid: InvalidToken) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid-link", "Link not valid").detail(invalid.to_string())
    }
}

impl IntoResponse for Rejection {
    fn into_response(self) -> Response {
        self.0.to_response().into_response()
    }
}

/// An error with its sources, for the log.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        source = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::random::NoRandomness;

    #[test]
    fn each_refusal_has_its_status_and_type() {
        let cases: [(Rejection, u16, &str); 10] = [
            (Refusal::WrongCredentials.into(), 401, "invalid-credentials"),
            (Refusal::Locked { retry_after: Duration::from_millis(1500) }.into(), 403, "account-locked"),
            (Refusal::NotVerified.into(), 403, "email-not-verified"),
            (Refusal::Disabled.into(), 403, "account-disabled"),
            (ChangeRefusal::Current(Refusal::WrongCredentials).into(), 400, "wrong-password"),
            (ChangeRefusal::Same.into(), 400, "same-password"),
            (PasswordRefusal::Weak(vec![Violation::TooShort]).into(), 400, "weak-password"),
            (InvalidToken.into(), 400, "invalid-link"),
            (Fault::from(sqlx::Error::PoolTimedOut).into(), 503, "unavailable"),
            (Fault::from(NoRandomness).into(), 500, "internal"),
        ];
        for (rejection, status, slug) in cases {
            let problem = rejection.problem();
            assert_eq!(problem.status(), status);
            assert_eq!(problem.type_uri(), format!("urn:session-manager:problem:{slug}"));
            let response = rejection.into_response();
            assert_eq!(
                response.headers().contains_key("retry-after"),
                matches!(slug, "account-locked" | "unavailable")
            );
        }
    }

    #[test]
    fn a_weak_password_lists_its_rules_for_machines() {
        let rejection = Rejection::weak_password("new_password", &[Violation::NoDigit, Violation::Common]);
        let body: serde_json::Value = serde_json::from_str(rejection.problem().to_response().body()).unwrap();
        assert_eq!(body["violations"], serde_json::json!(["no_digit", "common"]));
        assert_eq!(body["errors"][0], serde_json::json!({"field": "new_password", "message": "must contain a digit"}));
    }
}
