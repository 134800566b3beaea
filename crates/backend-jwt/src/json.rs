//! JSON objects whose names are unique at every depth. `serde_json` alone keeps the last of two equal names, others the first.

use std::borrow::Cow;
use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// Reads an object; `None` where it is no object, or holds a name twice.
///
/// The text is walked twice rather than built by a visitor of our own: how a number arrives depends on features of `serde_json` that any
/// crate of the application may switch on.
pub(crate) fn object(bytes: &[u8]) -> Option<Map<String, Value>> {
    serde_json::from_slice::<UniqueNames>(bytes).ok()?;
    serde_json::from_slice(bytes).ok()
}

/// Any JSON value without a repeated name, thrown away as it is read.
struct UniqueNames;

#[derive(serde::Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de> Deserialize<'de> for UniqueNames {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Walk)
    }
}

struct Walk;

impl<'de> Visitor<'de> for Walk {
    type Value = UniqueNames;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value without a repeated name")
    }

    fn visit_bool<E>(self, _: bool) -> Result<UniqueNames, E> {
        Ok(UniqueNames)
    }

    fn visit_i64<E>(self, _: i64) -> Result<UniqueNames, E> {
        Ok(UniqueNames)
    }

    fn visit_u64<E>(self, _: u64) -> Result<UniqueNames, E> {
        Ok(UniqueNames)
    }

    fn visit_f64<E>(self, _: f64) -> Result<UniqueNames, E> {
        Ok(UniqueNames)
    }

    fn visit_str<E>(self, _: &str) -> Result<UniqueNames, E> {
        Ok(UniqueNames)
    }

    fn visit_unit<E>(self) -> Result<UniqueNames, E> {
        Ok(UniqueNames)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<UniqueNames, A::Error> {
        while seq.next_element::<UniqueNames>()?.is_some() {}
        Ok(UniqueNames)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<UniqueNames, A::Error> {
        let mut names: Vec<Cow<'de, str>> = Vec::new();
        while let Some((Name(name), UniqueNames)) = map.next_entry()? {
            names.push(name);
        }
        // Sorted, not compared each with each: an unsigned header may hold a thousand names.
        names.sort_unstable();
        if names.is_sorted_by(|one, other| one < other) {
            Ok(UniqueNames)
        } else {
            Err(de::Error::custom("repeated name"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeated_names_are_refused_at_every_depth() {
        let good = ["{}", r#"{"a":1,"b":{"a":[1.5,-2,null,true,"x",{}]}}"#, r#"{"a":{"x":1},"b":{"x":1}}"#];
        for text in good {
            assert!(object(text.as_bytes()).is_some(), "{text}");
        }
        let bad = [
            r#"{"a":1,"a":1}"#,
            r#"{"a":1,"b":2,"a":3}"#,
            r#"{"a":1,"\u0061":2}"#,
            r#"{"b":{"a":1,"a":2}}"#,
            r#"{"b":[{"a":1,"a":2}]}"#,
            "[]",
            r#""text""#,
            r#"{"a":1} x"#,
            r#"{"a":1"#,
            "",
        ];
        for text in bad {
            assert!(object(text.as_bytes()).is_none(), "{text}");
        }
        assert!(object(&[b'{', b'"', 0xFF, b'"', b':', b'1', b'}']).is_none());
        assert!(object(format!(r#"{{"a":{}{}}}"#, "[".repeat(5000), "]".repeat(5000)).as_bytes()).is_none());
    }
}
