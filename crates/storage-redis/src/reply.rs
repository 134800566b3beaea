//! Taking servers' answers apart.

use redis::Value;

use crate::error::{Failure, Outcome};

const FORM: Failure = Failure::Answer("not what the script answers");

/// The elements of an answer, in turn.
pub(crate) struct Reply(std::vec::IntoIter<Value>);

/// The word of an answer that is one string: a script's ordinary case.
pub(crate) const DONE: &[u8] = b"done";

impl Reply {
    pub(crate) fn of(value: Value) -> Outcome<Self> {
        match value {
            Value::Array(values) => Ok(Self(values.into_iter())),
            one @ Value::BulkString(_) => Ok(Self(vec![Value::BulkString(DONE.to_vec()), one].into_iter())),
            _ => Err(FORM),
        }
    }

    /// The next element, which names what follows.
    pub(crate) fn word(&mut self) -> Outcome<Vec<u8>> {
        self.bytes()
    }

    pub(crate) fn bytes(&mut self) -> Outcome<Vec<u8>> {
        self.optional()?.ok_or(FORM)
    }

    /// The next element; `None` for nil.
    pub(crate) fn optional(&mut self) -> Outcome<Option<Vec<u8>>> {
        bytes(self.0.next().ok_or(FORM)?)
    }

    /// The next element; `None` where it is empty, which is how scripts write nil.
    pub(crate) fn filled(&mut self) -> Outcome<Option<Vec<u8>>> {
        Ok(Some(self.bytes()?).filter(|bytes| !bytes.is_empty()))
    }

    pub(crate) fn number(&mut self) -> Outcome<i64> {
        number(&self.0.next().ok_or(FORM)?)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Outcome<[u8; N]> {
        self.bytes()?.try_into().map_err(|_| FORM)
    }

    /// What is left.
    pub(crate) fn rest(self) -> impl Iterator<Item = Outcome<Vec<u8>>> {
        self.0.map(|value| bytes(value)?.ok_or(FORM))
    }

    pub(crate) fn next(&mut self) -> Option<Value> {
        self.0.next()
    }
}

pub(crate) fn number(value: &Value) -> Outcome<i64> {
    match value {
        Value::Int(number) => Ok(*number),
        _ => Err(FORM),
    }
}

/// A string, or nil.
pub(crate) fn bytes(value: Value) -> Outcome<Option<Vec<u8>>> {
    match value {
        Value::Nil => Ok(None),
        Value::BulkString(bytes) => Ok(Some(bytes)),
        Value::SimpleString(text) => Ok(Some(text.into_bytes())),
        Value::Okay => Ok(Some(b"OK".to_vec())),
        _ => Err(FORM),
    }
}

/// A text.
pub(crate) fn text(value: Value) -> Outcome<String> {
    String::from_utf8(bytes(value)?.ok_or(FORM)?).map_err(|_| FORM)
}
