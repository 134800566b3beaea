//! The columns of an audit table.

use crate::value::Kind;

/// A column of the audit table.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[non_exhaustive]
pub enum Field {
    /// The event's id: the primary key, by which an event is recorded once.
    Id,
    /// What happened, by the kind's stable name.
    Kind,
    /// When.
    At,
    /// To which session.
    SessionId,
    /// To whose. Personal.
    UserId,
    /// Who did it: `user:<id>`, `service:<name>` or `system`. Personal.
    Actor,
    /// The client's address. Personal; optional.
    IpAddress,
    /// The client's user agent. Personal; optional.
    UserAgent,
    /// What the user calls the device. Personal; optional.
    DeviceName,
    /// The application; optional.
    Application,
    /// The client hints, a JSON object. Personal; optional.
    Hints,
    /// The request; optional.
    RequestId,
    /// Why; optional.
    Reason,
    /// More, by kind, a JSON object; also what a table without the optional columns has to keep.
    Details,
    /// The place in the chain.
    Seq,
    /// The MAC over the row and all before it.
    Mac,
    /// What the personal columns are committed to.
    Commitments,
    /// The salt of the commitment to the user.
    SubjectSalt,
    /// The salt of the commitment to actor and client.
    ClientSalt,
    /// The salt of the commitment to reason and details.
    TextSalt,
}

impl Field {
    /// What every table has, in the order of statements.
    pub(crate) const EVENT: [Self; 14] = [
        Self::Id,
        Self::Kind,
        Self::At,
        Self::SessionId,
        Self::UserId,
        Self::Actor,
        Self::IpAddress,
        Self::UserAgent,
        Self::DeviceName,
        Self::Application,
        Self::Hints,
        Self::RequestId,
        Self::Reason,
        Self::Details,
    ];

    /// What a chained table has beyond.
    pub(crate) const CHAIN: [Self; 6] =
        [Self::Seq, Self::Mac, Self::Commitments, Self::SubjectSalt, Self::ClientSalt, Self::TextSalt];

    /// Whether a table may lack it.
    pub const fn is_optional(self) -> bool {
        matches!(
            self,
            Self::IpAddress
                | Self::UserAgent
                | Self::DeviceName
                | Self::Application
                | Self::Hints
                | Self::RequestId
                | Self::Reason
        )
    }

    /// The name that its column has by default, and the key under which [`Field::Details`] keeps it in a table that lacks it.
    pub const fn default_name(self) -> &'static str {
        match self {
            Self::Id => "id",
            Self::Kind => "kind",
            Self::At => "at",
            Self::SessionId => "session_id",
            Self::UserId => "user_id",
            Self::Actor => "actor",
            Self::IpAddress => "ip_address",
            Self::UserAgent => "user_agent",
            Self::DeviceName => "device_name",
            Self::Application => "application",
            Self::Hints => "hints",
            Self::RequestId => "request_id",
            Self::Reason => "reason",
            Self::Details => "details",
            Self::Seq => "seq",
            Self::Mac => "mac",
            Self::Commitments => "commitments",
            Self::SubjectSalt => "subject_salt",
            Self::ClientSalt => "client_salt",
            Self::TextSalt => "text_salt",
        }
    }

    /// Whether we write NULL, be it that the event has no such value or that it was erased.
    pub(crate) const fn nullable(self) -> bool {
        !matches!(self, Self::Id | Self::Kind | Self::At | Self::Seq | Self::Mac | Self::Commitments)
    }

    /// The longest text that SQL compares in it.
    pub(crate) const fn compared(self) -> Option<u16> {
        match self {
            Self::Kind => Some(32),
            Self::UserId => Some(128),
            // "service:" and a name.
            Self::Actor => Some(136),
            Self::Id | Self::SessionId => Some(36),
            _ => None,
        }
    }

    /// What its column holds where no encoding is chosen for it.
    pub(crate) const fn plain_kind(self) -> Kind {
        match self {
            Self::Seq => Kind::Int,
            Self::Mac | Self::Commitments | Self::SubjectSalt | Self::ClientSalt | Self::TextSalt => Kind::Bytes,
            _ => Kind::Text,
        }
    }
}
