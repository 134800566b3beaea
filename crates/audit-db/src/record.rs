//! An audit event as its row holds it.

use std::collections::BTreeMap;

use chrono::{DateTime, SubsecRound, Utc};
use serde_json::{Map, Value as Json};
use session_manager_core::{Actor, AuditEvent, AuditKind, ClientInfo, SessionId, UserId};
use uuid::Uuid;

use crate::encoding::AddressEncoding;
use crate::error::Failure;
use crate::field::Field;
use crate::plan::Plan;
use crate::value::{Row, Value};

/// Who acted, where an erasure has removed it.
pub(crate) const ERASED: &str = "erased";

/// An event as its row holds it: each text exactly as it is stored, so that what is read back is what was committed to.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) id: Uuid,
    pub(crate) kind: String,
    pub(crate) at: DateTime<Utc>,
    pub(crate) session_id: Option<Uuid>,
    /// The texts of the other fields, those that are there.
    pub(crate) texts: BTreeMap<Field, String>,
}

impl Record {
    /// What a row of this plan holds of the event.
    pub(crate) fn of(event: &AuditEvent, plan: &Plan) -> Self {
        let client = &event.client;
        let mut texts = BTreeMap::new();
        let mut keep = |field, text: Option<String>| {
            if let Some(text) = text {
                // PostgreSQL cannot hold U+0000 in any text.
                texts.insert(field, if text.contains('\0') { text.replace('\0', "\u{FFFD}") } else { text });
            }
        };
        keep(Field::UserId, event.user_id.as_ref().map(|user| user.as_str().to_owned()));
        keep(Field::Actor, Some(event.actor.to_string()));
        keep(Field::IpAddress, client.ip_address.map(|address| address.to_string()));
        keep(Field::UserAgent, client.user_agent.clone());
        keep(Field::DeviceName, client.device_name.clone());
        keep(Field::Application, client.application.clone());
        keep(Field::Hints, (!client.hints.is_empty()).then(|| json(&client.hints)));
        keep(Field::RequestId, event.request_id.clone());
        keep(Field::Reason, event.reason.clone());
        let mut details = event.details.clone();
        for field in plan.lacking() {
            if let Some(text) = texts.remove(&field) {
                details.insert(place(field), Json::String(text));
            }
        }
        if !details.is_empty() {
            texts.insert(Field::Details, json(&details));
        }
        let session_id = event.session_id.map(|session| session.as_uuid());
        Self { id: event.id, kind: event.kind.as_str().to_owned(), at: event.at.trunc_subsecs(3), session_id, texts }
    }

    /// The values of the event's columns, in the plan's order.
    pub(crate) fn values(&self, plan: &Plan) -> Result<Vec<Value>, Failure> {
        plan.event_fields().map(|field| self.value(field, plan)).collect()
    }

    fn value(&self, field: Field, plan: &Plan) -> Result<Value, Failure> {
        let mapping = &plan.mapping;
        match field {
            Field::Id => return Ok(mapping.ids.encode(self.id)),
            Field::Kind => return Ok(Value::Text(self.kind.clone())),
            Field::At => return Ok(mapping.times.encode(self.at)),
            Field::SessionId => {
                return Ok(self.session_id.map_or(Value::Null(mapping.ids.kind()), |id| mapping.ids.encode(id)));
            }
            _ => {}
        }
        let Some(text) = self.texts.get(&field) else { return Ok(Value::Null(mapping.kind(field))) };
        Ok(match field {
            Field::UserId => mapping.users.encode(&UserId::parse(text)?)?,
            Field::IpAddress => {
                mapping.addresses.encode(text.parse().map_err(|_| Failure::Driver("an address is none"))?)
            }
            Field::Hints | Field::Details => mapping.json_encoding().encode(text.clone()),
            _ => Value::Text(text.clone()),
        })
    }

    /// Reads the event's columns, in the plan's order.
    pub(crate) fn read(row: &mut Row, plan: &Plan) -> Result<Self, Failure> {
        let mapping = &plan.mapping;
        let mut record = Self {
            id: Uuid::nil(),
            kind: String::new(),
            at: DateTime::UNIX_EPOCH,
            session_id: None,
            texts: BTreeMap::new(),
        };
        for field in plan.event_fields() {
            let column = mapping.column_name(field);
            let value = row.next().ok_or_else(|| Failure::decode(column, "anything"))?;
            let Some(value) = value.present() else { continue };
            match field {
                Field::Id => record.id = mapping.ids.decode(value, column)?,
                Field::Kind => record.kind = value.text(column)?,
                Field::At => record.at = mapping.times.decode(value, column)?,
                Field::SessionId => record.session_id = Some(mapping.ids.decode(value, column)?),
                Field::UserId => {
                    record.texts.insert(field, mapping.users.decode(value, column)?.as_str().to_owned());
                }
                Field::IpAddress => {
                    record.texts.insert(field, AddressEncoding::decode(value, column)?.to_string());
                }
                _ => {
                    record.texts.insert(field, value.text(column)?);
                }
            }
        }
        Ok(record)
    }

    /// The event that it tells of. Who acted is the service `erased` where an erasure has removed it.
    pub(crate) fn event(mut self, plan: &Plan) -> Result<AuditEvent, Failure> {
        let column = |field| plan.mapping.column_name(field).to_owned();
        let wrong = |field, expected| Failure::decode(&column(field), expected);
        let details = self.texts.remove(&Field::Details);
        let mut details: Map<String, Json> = details
            .map_or(Ok(Map::new()), |text| serde_json::from_str(&text))
            .map_err(|_| wrong(Field::Details, "a JSON object"))?;
        for field in plan.lacking() {
            if let Some(Json::String(text)) = details.remove(&place(field)) {
                self.texts.insert(field, text);
            }
        }
        let kind: AuditKind =
            serde_json::from_value(Json::String(self.kind)).map_err(|_| wrong(Field::Kind, "a kind of event"))?;
        let actor = match self.texts.remove(&Field::Actor) {
            Some(text) => Actor::parse(&text).map_err(|_| wrong(Field::Actor, "an actor"))?,
            None => Actor::Service(ERASED.to_owned()),
        };
        let mut client = ClientInfo::new();
        if let Some(address) = self.texts.remove(&Field::IpAddress) {
            client.ip_address = Some(address.parse().map_err(|_| wrong(Field::IpAddress, "an address"))?);
        }
        if let Some(hints) = self.texts.remove(&Field::Hints) {
            client.hints = serde_json::from_str(&hints).map_err(|_| wrong(Field::Hints, "a JSON object of texts"))?;
        }
        client.user_agent = self.texts.remove(&Field::UserAgent);
        client.device_name = self.texts.remove(&Field::DeviceName);
        client.application = self.texts.remove(&Field::Application);
        let mut event = AuditEvent::new(self.id, kind, self.at, actor);
        event.session_id = self.session_id.map(SessionId::from);
        event.user_id = self
            .texts
            .remove(&Field::UserId)
            .map(|user| UserId::parse(&user).map_err(|_| wrong(Field::UserId, "a user id")))
            .transpose()?;
        event.client = client;
        event.request_id = self.texts.remove(&Field::RequestId);
        event.reason = self.texts.remove(&Field::Reason);
        event.details = details;
        Ok(event)
    }
}

/// Where the details keep what the table has no column for.
fn place(field: Field) -> String {
    format!("_{}", field.default_name())
}

/// Names and texts cannot fail to become JSON.
fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}
