//! A session record as the values of a row, and back.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value as Json};
use session_manager_core::{
    Actor, Control, Epoch, Epochs, ExternalId, GlobalEpoch, Revocation, RevocationReason, Seed, Session, SessionId,
    SessionRecord, Snapshot, Stamp, UserId,
};
use uuid::Uuid;

use crate::config::{Extra, ExtraKind, SessionTable};
use crate::details::{Details, millis};
use crate::encoding::AddressEncoding;
use crate::error::Failure;
use crate::field::{Field, Role};
use crate::value::{Kind, Row, Value};

/// A column of the session table.
#[derive(Clone, Debug)]
pub(crate) enum Column {
    /// One of ours.
    Own(Field, String),
    /// The application's.
    Extra(Extra),
}

impl Column {
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Own(_, name) => name,
            Self::Extra(extra) => &extra.column,
        }
    }
}

/// All columns in the order in which they are written; `details` comes before the fields that it would otherwise overwrite on reading.
pub(crate) fn columns(table: &SessionTable) -> Vec<Column> {
    let mut own: Vec<_> = table.columns.iter().map(|(field, name)| Column::Own(*field, name.clone())).collect();
    own.extend(table.extras.iter().cloned().map(Column::Extra));
    own
}

/// Whether a column is read back.
pub(crate) fn is_read(column: &Column) -> bool {
    !matches!(column, Column::Own(field, _) if field.role() == Role::Copy)
}

/// The values of a record, in the order of [`columns`].
pub(crate) fn encode(table: &SessionTable, columns: &[Column], record: &SessionRecord) -> Result<Vec<Value>, Failure> {
    let (in_columns, in_json) = split_attributes(&record.session.attributes, &table.extras);
    let mut extras = in_columns.into_iter();
    columns
        .iter()
        .map(|column| match column {
            Column::Own(field, name) => {
                own_value(table, *field, name, record, &in_json).map(|value| of_kind(value, table.kind(*field)))
            }
            Column::Extra(extra) => Ok(extras.next().unwrap_or(Value::Null(extra.kind.kind()))),
        })
        .collect()
}

/// Reads a row of the columns that are read, followed by both epochs where they are kept.
pub(crate) fn decode(table: &SessionTable, columns: &[Column], mut row: Row) -> Result<Snapshot, Failure> {
    let mut draft = Draft::default();
    for column in columns {
        let value = row.next().ok_or(Failure::Driver("a row is too short"))?;
        match column {
            Column::Own(field, name) => draft.take(table, *field, name, value)?,
            Column::Extra(extra) => {
                if let Some(value) = value.present() {
                    draft.extras.push((extra.attribute.clone(), json(value, extra)?));
                }
            }
        }
    }
    let epochs = if table.epochs.is_some() { decode_epochs(table, &mut row)? } else { Epochs::default() };
    Ok(Snapshot::new(draft.finish()?, epochs))
}

/// Reads the epoch columns of a joined row.
fn decode_epochs(table: &SessionTable, row: &mut Row) -> Result<Epochs, Failure> {
    let mut next = || row.next().ok_or(Failure::Driver("a row is too short"));
    let user = decode_epoch(next()?, next()?)?;
    let global = decode_epoch(next()?, next()?)?;
    let grace_until = table.times.decode_option(next()?, "grace_until")?;
    let rotated_at = table.times.decode_option(next()?, "rotated_at")?;
    Ok(Epochs::new(user, global.map(|epoch| GlobalEpoch::rotated(epoch, rotated_at, grace_until))))
}

/// Reads an epoch.
pub(crate) fn decode_epoch(incarnation: Value, version: Value) -> Result<Option<Epoch>, Failure> {
    let (Some(incarnation), Some(version)) = (incarnation.present(), version.present()) else {
        return Ok(None);
    };
    let incarnation = incarnation.int("incarnation")?.cast_unsigned();
    Ok(Some(Epoch { incarnation, version: version.int("version")?.cast_unsigned() }))
}

/// The value as its column has to be given it: databases want to know the type even of NULL.
fn of_kind(value: Value, kind: Kind) -> Value {
    match (value, kind) {
        (Value::Null(_), kind) => Value::Null(kind),
        (Value::Text(text), Kind::Json | Kind::Jsonb) => Value::Json(text),
        (value, _) => value,
    }
}

fn own_value(
    table: &SessionTable,
    field: Field,
    name: &str,
    record: &SessionRecord,
    attributes: &Map<String, Json>,
) -> Result<Value, Failure> {
    let SessionRecord { session, control, .. } = record;
    let times = table.times;
    let revocation = control.revocation.as_deref();
    let stamp = |part: fn(Stamp) -> u64| control.stamped.map_or(Value::Null(Kind::Int), |stamp| part(stamp).into());
    let text = |text: Option<&String>| Value::from(text.cloned());
    let place = session.location.as_ref();
    Ok(match field {
        Field::Id => table.id.encode(session.id),
        Field::UserId => table.user_id.encode(&session.user_id)?,
        Field::CreatedAt => times.encode(session.created_at),
        Field::ExpiresAt => times.encode(session.expires_at),
        Field::IdleExpiresAt => times.encode(control.idle_expires_at),
        Field::LastActivity => times.encode(control.last_activity),
        Field::Generation => control.generation.into(),
        Field::Floor => control.floor.into(),
        Field::Seed => Value::Bytes(control.seed.as_bytes().to_vec()),
        Field::RotatedAt => times.encode(control.rotated_at),
        Field::PreviousRotatedAt => times.encode(control.previous_rotated_at),
        Field::Version => control.version.into(),
        Field::RevokedAt => times.encode_option(revocation.map(|revocation| revocation.at)),
        Field::RevokedReason => revocation.map(|revocation| revocation.reason.to_string()).into(),
        Field::RevokedBy => revocation.map(|revocation| revocation.by.to_string()).into(),
        Field::Details => {
            let mapped = |field| table.columns.contains_key(&field);
            to_json(&Details::of(session, attributes.clone(), mapped), name)?
        }
        Field::UserIncarnation => stamp(|stamp| stamp.user.incarnation),
        Field::UserVersion => stamp(|stamp| stamp.user.version),
        Field::GlobalIncarnation => stamp(|stamp| stamp.global.incarnation),
        Field::GlobalVersion => stamp(|stamp| stamp.global.version),
        Field::IpAddress => session.ip_address.map_or(Value::Null(Kind::Text), |address| table.address.encode(address)),
        Field::UserAgent => text(session.user_agent.as_ref()),
        Field::DeviceInfo => text(session.device_info.as_ref()),
        Field::DeviceName => text(session.device_name.as_ref()),
        Field::Application => text(session.application.as_ref()),
        Field::IsTrusted => Value::Bool(session.is_trusted),
        Field::TrustedUntil => times.encode_option(session.trusted_until),
        Field::ExternalIssuer => session.external.as_ref().map(|external| external.issuer.clone()).into(),
        Field::ExternalSid => session.external.as_ref().map(|external| external.sid.clone()).into(),
        Field::Location => option_json(session.location.as_ref(), name)?,
        Field::Device => option_json(session.device.as_ref(), name)?,
        Field::Authentication => to_json(&session.authentication, name)?,
        Field::Binding => option_json(session.binding.as_ref(), name)?,
        Field::Actor => session.actor.as_ref().map(ToString::to_string).into(),
        Field::IdleTimeout => session.idle_timeout.map_or(Value::Null(Kind::Int), |timeout| millis(timeout).into()),
        Field::Attributes => to_json(attributes, name)?,
        Field::DeviceKind => {
            Value::from(session.device.as_ref().map(|device| device.kind).unwrap_or_default().as_str())
        }
        Field::Country => text(place.and_then(|place| place.country.as_ref())),
        Field::City => text(place.and_then(|place| place.city.as_ref())),
    })
}

/// A record while its columns come in.
#[derive(Default)]
struct Draft {
    id: Option<SessionId>,
    user_id: Option<UserId>,
    times: [Option<DateTime<Utc>>; 6],
    numbers: [u64; 3],
    seed: Option<Seed>,
    revoked_at: Option<DateTime<Utc>>,
    revoked_reason: Option<String>,
    revoked_by: Option<String>,
    stamp: [Option<u64>; 4],
    details: Details<'static>,
    late: Vec<(Field, String, Value)>,
    trusted_until: Option<DateTime<Utc>>,
    extras: Vec<(String, Json)>,
}

impl Draft {
    /// Takes one column. Optional ones wait for `details`, which comes wherever it stands.
    fn take(&mut self, table: &SessionTable, field: Field, name: &str, value: Value) -> Result<(), Failure> {
        let [created_at, expires_at, idle_expires_at, last_activity, rotated_at, previous_rotated_at] = &mut self.times;
        let [generation, floor, version] = &mut self.numbers;
        let [user_incarnation, user_version, global_incarnation, global_version] = &mut self.stamp;
        let time = |value| table.times.decode(value, name).map(Some);
        let number = |value: Value| value.int(name).map(i64::cast_unsigned);
        let option = |value: Value| value.present().map(number).transpose();
        match field {
            Field::Id => self.id = Some(table.id.decode(value, name)?),
            Field::UserId => self.user_id = Some(table.user_id.decode(value, name)?),
            Field::CreatedAt => *created_at = time(value)?,
            Field::ExpiresAt => *expires_at = time(value)?,
            Field::IdleExpiresAt => *idle_expires_at = time(value)?,
            Field::LastActivity => *last_activity = time(value)?,
            Field::RotatedAt => *rotated_at = time(value)?,
            Field::PreviousRotatedAt => *previous_rotated_at = time(value)?,
            Field::Generation => *generation = number(value)?,
            Field::Floor => *floor = number(value)?,
            Field::Version => *version = number(value)?,
            Field::Seed => {
                let seed = Seed::try_from(value.bytes(name)?.as_slice())
                    .map_err(|_| Failure::decode(name, "a seed of 32 bytes"))?;
                self.seed = Some(seed);
            }
            Field::RevokedAt => self.revoked_at = table.times.decode_option(value, name)?,
            Field::RevokedReason => self.revoked_reason = optional_text(value, name)?,
            Field::RevokedBy => self.revoked_by = optional_text(value, name)?,
            Field::UserIncarnation => *user_incarnation = option(value)?,
            Field::UserVersion => *user_version = option(value)?,
            Field::GlobalIncarnation => *global_incarnation = option(value)?,
            Field::GlobalVersion => *global_version = option(value)?,
            Field::Details => self.details = from_json(value, name)?,
            Field::TrustedUntil => self.trusted_until = table.times.decode_option(value, name)?,
            _ => {
                if let Some(value) = value.present() {
                    self.late.push((field, name.to_owned(), value));
                }
            }
        }
        Ok(())
    }

    fn finish(self) -> Result<SessionRecord, Failure> {
        let missing = || Failure::Driver("a row lacks a column");
        let [created_at, expires_at, idle_expires_at, last_activity, rotated_at, previous_rotated_at] = self.times;
        let (Some(created_at), Some(expires_at)) = (created_at, expires_at) else { return Err(missing()) };
        let (Some(id), Some(user_id), Some(seed)) = (self.id, self.user_id, self.seed) else { return Err(missing()) };
        let mut session = Session::new(id, user_id, created_at, expires_at);
        self.details.restore(&mut session);
        session.trusted_until = self.trusted_until.or(session.trusted_until);
        for (field, name, value) in self.late {
            restore(&mut session, field, &name, value)?;
        }
        session.attributes.extend(self.extras);
        let mut control = Control::new(seed, rotated_at.ok_or_else(missing)?, idle_expires_at.ok_or_else(missing)?);
        [control.generation, control.floor, control.version] = self.numbers;
        control.previous_rotated_at = previous_rotated_at.ok_or_else(missing)?;
        control.last_activity = last_activity.ok_or_else(missing)?;
        control.stamped = stamp(self.stamp);
        control.revocation = revocation(self.revoked_at, self.revoked_reason, self.revoked_by);
        Ok(SessionRecord::new(session, control))
    }
}

/// Puts an optional column's value back.
fn restore(session: &mut Session, field: Field, name: &str, value: Value) -> Result<(), Failure> {
    let external = |session: &mut Session| {
        session.external.take().unwrap_or(ExternalId { issuer: String::new(), sid: String::new() })
    };
    match field {
        Field::IpAddress => {
            session.ip_address = Some(AddressEncoding::decode(value, name)?);
        }
        Field::UserAgent => session.user_agent = Some(value.text(name)?),
        Field::DeviceInfo => session.device_info = Some(value.text(name)?),
        Field::DeviceName => session.device_name = Some(value.text(name)?),
        Field::Application => session.application = Some(value.text(name)?),
        Field::IsTrusted => session.is_trusted = value.bool(name)?,
        Field::ExternalIssuer => session.external = Some(ExternalId { issuer: value.text(name)?, ..external(session) }),
        Field::ExternalSid => session.external = Some(ExternalId { sid: value.text(name)?, ..external(session) }),
        Field::Location => session.location = Some(from_json(value, name)?),
        Field::Device => session.device = Some(from_json(value, name)?),
        Field::Authentication => session.authentication = from_json(value, name)?,
        Field::Binding => session.binding = Some(from_json(value, name)?),
        Field::Actor => {
            session.actor = Some(Actor::parse(&value.text(name)?).map_err(|_| Failure::decode(name, "an actor"))?);
        }
        Field::IdleTimeout => session.idle_timeout = Some(Duration::from_millis(value.int(name)?.cast_unsigned())),
        Field::Attributes => session.attributes = from_json(value, name)?,
        _ => {}
    }
    Ok(())
}

/// Divides attributes into the values of the extra columns, in their order, and what stays in the JSON.
fn split_attributes(attributes: &Map<String, Json>, extras: &[Extra]) -> (Vec<Value>, Map<String, Json>) {
    let mut rest = attributes.clone();
    let values = extras
        .iter()
        .map(|extra| {
            let value = match (extra.kind, rest.get(&extra.attribute)) {
                (ExtraKind::Text, Some(Json::String(text))) => Some(Value::Text(text.clone())),
                (ExtraKind::Integer, Some(Json::Number(number))) => number.as_i64().map(Value::Int),
                (ExtraKind::Real, Some(Json::Number(number))) if number.is_f64() => number.as_f64().map(Value::Real),
                (ExtraKind::Boolean, Some(Json::Bool(truth))) => Some(Value::Bool(*truth)),
                (ExtraKind::Uuid, Some(Json::String(text))) => {
                    Uuid::try_parse(text).ok().filter(|id| id.hyphenated().to_string() == *text).map(Value::Uuid)
                }
                _ => None,
            };
            if value.is_some() {
                rest.remove(&extra.attribute);
            }
            value.unwrap_or(Value::Null(extra.kind.kind()))
        })
        .collect();
    (values, rest)
}

fn json(value: Value, extra: &Extra) -> Result<Json, Failure> {
    match (extra.kind, value) {
        (ExtraKind::Boolean, value) => value.bool(&extra.column).map(Json::Bool),
        (ExtraKind::Text, value) => value.text(&extra.column).map(Json::String),
        (ExtraKind::Uuid, value) => {
            let bytes = value.bytes(&extra.column)?;
            let id = Uuid::from_slice(&bytes).map_err(|_| Failure::decode(&extra.column, "a UUID"))?;
            Ok(Json::String(id.to_string()))
        }
        (ExtraKind::Real, Value::Real(number)) => Ok(Json::from(number)),
        (ExtraKind::Integer | ExtraKind::Real, value) => value.int(&extra.column).map(Json::from),
    }
}

fn revocation(at: Option<DateTime<Utc>>, reason: Option<String>, by: Option<String>) -> Option<Arc<Revocation>> {
    // A revocation written by hand may lack a reason or an actor, or hold ones that we would not write. It ends the session all the same.
    let reason = reason.and_then(|text| RevocationReason::parse(&text).ok()).unwrap_or(RevocationReason::BY_ADMIN);
    let by = by.and_then(|text| Actor::parse(&text).ok()).unwrap_or(Actor::System);
    at.map(|at| Arc::new(Revocation::new(at, reason, by)))
}

fn stamp(parts: [Option<u64>; 4]) -> Option<Stamp> {
    let [user_incarnation, user_version, global_incarnation, global_version] = parts;
    Some(Stamp {
        user: Epoch { incarnation: user_incarnation?, version: user_version? },
        global: Epoch { incarnation: global_incarnation?, version: global_version? },
    })
}

fn optional_text(value: Value, name: &str) -> Result<Option<String>, Failure> {
    value.present().map(|value| value.text(name)).transpose()
}

fn to_json<T: Serialize>(value: &T, name: &str) -> Result<Value, Failure> {
    serde_json::to_string(value).map(Value::Text).map_err(|_| Failure::decode(name, "what JSON can hold"))
}

fn option_json<T: Serialize>(value: Option<&T>, name: &str) -> Result<Value, Failure> {
    value.map_or(Ok(Value::Null(Kind::Text)), |value| to_json(value, name))
}

fn from_json<T: DeserializeOwned>(value: Value, name: &str) -> Result<T, Failure> {
    serde_json::from_str(&value.text(name)?).map_err(|_| Failure::decode(name, "the JSON it should"))
}
