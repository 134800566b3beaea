//! The columns of the session table, one name for each.

/// What a column of the session table holds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[non_exhaustive]
pub enum Field {
    /// The session's id: the primary key.
    Id,
    /// Whose it is.
    UserId,
    /// When it began.
    CreatedAt,
    /// The absolute deadline.
    ExpiresAt,
    /// The idle deadline.
    IdleExpiresAt,
    /// When the user was last seen.
    LastActivity,
    /// The generation of the newest refresh token.
    Generation,
    /// The lowest generation that is accepted.
    Floor,
    /// Thirty-two bytes that the tokens' MACs depend on.
    Seed,
    /// When the current generation began.
    RotatedAt,
    /// When the one before began.
    PreviousRotatedAt,
    /// Raised with every change but a touch.
    Version,
    /// When somebody ended it.
    RevokedAt,
    /// Why.
    RevokedReason,
    /// By whom: `user:<id>`, `service:<name>` or `system`.
    RevokedBy,
    /// JSON: everything that has no column of its own.
    Details,
    /// The user's epoch it belongs to; needed with an [`EpochTable`](crate::EpochTable).
    UserIncarnation,
    /// Its version.
    UserVersion,
    /// The global epoch it belongs to.
    GlobalIncarnation,
    /// Its version.
    GlobalVersion,
    /// Optional: the address, as text.
    IpAddress,
    /// Optional: the user agent.
    UserAgent,
    /// Optional: a text for people.
    DeviceInfo,
    /// Optional: what the user calls the device.
    DeviceName,
    /// Optional: the application signed in to.
    Application,
    /// Optional: whether the device is trusted.
    IsTrusted,
    /// Optional: until when; needed to filter by trust in SQL.
    TrustedUntil,
    /// Optional, together with [`Field::ExternalSid`]: without them sessions are not found by external id.
    ExternalIssuer,
    /// Optional: the name elsewhere.
    ExternalSid,
    /// Optional, JSON: the place.
    Location,
    /// Optional, JSON: the parsed device.
    Device,
    /// Optional, JSON: how and when the user proved who they are.
    Authentication,
    /// Optional, JSON: what the tokens are bound to.
    Binding,
    /// Optional: who acts in the user's name.
    Actor,
    /// Optional: milliseconds without activity that end it.
    IdleTimeout,
    /// Optional, JSON: the application's own data.
    Attributes,
    /// Optional copy for filtering: the kind of device.
    DeviceKind,
    /// Optional copy for filtering: the country.
    Country,
    /// Optional copy for filtering: the city.
    City,
}

/// What part a column plays.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Role {
    /// It must be there.
    Essential,
    /// It must be there with an epoch table.
    Stamp,
    /// Without a column it goes into `details`.
    Optional,
    /// A copy that is written and filtered by, and never read.
    Copy,
}

impl Field {
    /// Every column, in the order of the reference DDL, with its default name and whether it is mapped by default.
    pub(crate) const ALL: [(Self, &'static str, bool); 39] = [
        (Self::Id, "id", true),
        (Self::UserId, "user_id", true),
        (Self::CreatedAt, "created_at", true),
        (Self::ExpiresAt, "expires_at", true),
        (Self::IdleExpiresAt, "idle_expires_at", true),
        (Self::LastActivity, "last_activity", true),
        (Self::Generation, "generation", true),
        (Self::Floor, "floor", true),
        (Self::Seed, "seed", true),
        (Self::RotatedAt, "rotated_at", true),
        (Self::PreviousRotatedAt, "previous_rotated_at", true),
        (Self::Version, "version", true),
        (Self::RevokedAt, "revoked_at", true),
        (Self::RevokedReason, "revoked_reason", true),
        (Self::RevokedBy, "revoked_by", true),
        (Self::UserIncarnation, "user_incarnation", true),
        (Self::UserVersion, "user_version", true),
        (Self::GlobalIncarnation, "global_incarnation", true),
        (Self::GlobalVersion, "global_version", true),
        (Self::IpAddress, "ip_address", true),
        (Self::UserAgent, "user_agent", true),
        (Self::DeviceInfo, "device_info", true),
        (Self::DeviceName, "device_name", true),
        (Self::Application, "application", true),
        (Self::IsTrusted, "is_trusted", true),
        (Self::TrustedUntil, "trusted_until", true),
        (Self::ExternalIssuer, "external_issuer", true),
        (Self::ExternalSid, "external_sid", true),
        (Self::Location, "location", false),
        (Self::Device, "device", false),
        (Self::Authentication, "authentication", false),
        (Self::Binding, "binding", false),
        (Self::Actor, "actor", false),
        (Self::IdleTimeout, "idle_timeout", false),
        (Self::Attributes, "attributes", false),
        (Self::DeviceKind, "device_kind", true),
        (Self::Country, "country", true),
        (Self::City, "city", true),
        (Self::Details, "details", true),
    ];

    pub(crate) const fn role(self) -> Role {
        match self {
            Self::UserIncarnation | Self::UserVersion | Self::GlobalIncarnation | Self::GlobalVersion => Role::Stamp,
            Self::DeviceKind | Self::Country | Self::City => Role::Copy,
            Self::IpAddress
            | Self::UserAgent
            | Self::DeviceInfo
            | Self::DeviceName
            | Self::Application
            | Self::IsTrusted
            | Self::TrustedUntil
            | Self::ExternalIssuer
            | Self::ExternalSid
            | Self::Location
            | Self::Device
            | Self::Authentication
            | Self::Binding
            | Self::Actor
            | Self::IdleTimeout
            | Self::Attributes => Role::Optional,
            _ => Role::Essential,
        }
    }

    /// Whether the column must accept NULL.
    pub(crate) const fn nullable(self) -> bool {
        match self.role() {
            Role::Essential => matches!(self, Self::RevokedAt | Self::RevokedReason | Self::RevokedBy),
            Role::Stamp => true,
            Role::Optional => !matches!(self, Self::IsTrusted | Self::Authentication | Self::Attributes),
            Role::Copy => !matches!(self, Self::DeviceKind),
        }
    }

    /// Whether it is a time.
    pub(crate) const fn is_time(self) -> bool {
        matches!(
            self,
            Self::CreatedAt
                | Self::ExpiresAt
                | Self::IdleExpiresAt
                | Self::LastActivity
                | Self::RotatedAt
                | Self::PreviousRotatedAt
                | Self::RevokedAt
                | Self::TrustedUntil
        )
    }

    /// Whether SQL compares it as text, so that its collation must tell every two texts apart: the bytes of the longest.
    pub(crate) const fn compared(self) -> Option<u16> {
        match self {
            Self::Id => Some(36),
            Self::UserId => Some(128),
            Self::ExternalIssuer | Self::ExternalSid | Self::City => Some(255),
            Self::IpAddress => Some(45),
            Self::DeviceKind => Some(32),
            Self::Country => Some(64),
            _ => None,
        }
    }
}
