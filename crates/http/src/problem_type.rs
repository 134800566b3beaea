//! The types of problem that clients can tell apart.

use http::StatusCode;

macro_rules! problem_types {
    ($($(#[$doc:meta])+ $variant:ident = $status:ident, $slug:literal, $title:literal, $detail:literal;)+) => {
        /// The problems that sessions cause. Their URIs are stable: clients match on them.
        #[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
        #[non_exhaustive]
        pub enum ProblemType {
            $($(#[$doc])+ $variant,)+
        }

        impl ProblemType {
            /// Every type, for documentation and tests.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// The member `type`.
            pub const fn uri(self) -> &'static str {
                match self { $(Self::$variant => concat!("urn:session-manager:problem:", $slug),)+ }
            }

            /// The member `title`.
            pub const fn title(self) -> &'static str {
                match self { $(Self::$variant => $title,)+ }
            }

            /// The member `detail`, unless the occurrence has one of its own.
            pub const fn detail(self) -> &'static str {
                match self { $(Self::$variant => $detail,)+ }
            }

            /// The status of the answer.
            pub const fn status(self) -> StatusCode {
                match self { $(Self::$variant => StatusCode::$status,)+ }
            }
        }
    };
}

problem_types! {
    /// No credential was presented.
    Unauthenticated = UNAUTHORIZED, "unauthenticated", "Sign-in required", "this needs a signed-in user";
    /// The token is malformed, forged, unknown or of the wrong kind.
    InvalidToken = UNAUTHORIZED, "invalid-token", "Invalid token", "the token is not valid";
    /// The token or its session has expired, by age or by idleness.
    Expired = UNAUTHORIZED, "expired", "Expired", "the token or its session has expired";
    /// The session was revoked.
    Revoked = UNAUTHORIZED, "revoked", "Revoked", "the session was ended";
    /// A refresh token was used twice; its session has been ended.
    ReuseDetected = UNAUTHORIZED, "reuse-detected", "Refresh token reuse detected", "the refresh token was used before, so its session was ended: sign in again";
    /// The token was rotated out: by a newer one of its session, or by a rotation of the user's or everyone's tokens.
    Rotated = UNAUTHORIZED, "rotated", "Rotated out", "the token was replaced by a newer one, or its user's tokens were rotated";
    /// More than one credential was presented, and which was meant cannot be told.
    AmbiguousCredentials = BAD_REQUEST, "ambiguous-credentials", "Ambiguous credentials", "the request holds several credentials that differ";
    /// The list cursor was not made by this list.
    InvalidCursor = BAD_REQUEST, "invalid-cursor", "Invalid cursor", "the cursor does not belong to this list";
    /// Another site caused the request.
    CrossSite = FORBIDDEN, "cross-site", "Cross-site request refused", "the request was caused by another site";
    /// A fresher or stronger authentication is required.
    StepUpRequired = FORBIDDEN, "step-up-required", "Fresh sign-in required", "prove again who you are, and repeat the request";
    /// There is no such session, or it is another user's.
    NotFound = NOT_FOUND, "not-found", "Not found", "there is no such thing here";
    /// The session had ended before.
    AlreadyEnded = CONFLICT, "already-ended", "Already ended", "the session had already ended";
    /// The user has too many sessions.
    SessionLimit = CONFLICT, "session-limit", "Too many sessions", "as many sessions as allowed are signed in: end one first";
    /// A concurrent change was faster.
    Conflict = CONFLICT, "conflict", "Conflicting change", "a concurrent change was faster: read again and repeat";
    /// The input breaks a rule.
    InvalidInput = UNPROCESSABLE_ENTITY, "invalid-input", "Invalid input", "the request breaks a rule";
    /// A rate limit is exhausted.
    RateLimited = TOO_MANY_REQUESTS, "rate-limited", "Too many requests", "too many requests: try again later";
    /// This installation cannot do that.
    NotSupported = NOT_IMPLEMENTED, "not-supported", "Not supported", "this service is not set up for that";
    /// The storage is unavailable: nothing is known about the session.
    Unavailable = SERVICE_UNAVAILABLE, "unavailable", "Temporarily unavailable", "the service cannot answer right now: try again shortly";
    /// A defect or a wrong configuration.
    Internal = INTERNAL_SERVER_ERROR, "internal", "Internal error", "the fault is on the service's side, and was logged";
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn uris_are_distinct() {
        let uris: BTreeSet<_> = ProblemType::ALL.iter().map(|problem| problem.uri()).collect();
        assert_eq!(uris.len(), ProblemType::ALL.len());
    }
}
