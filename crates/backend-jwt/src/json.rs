//! JSON objects whose names are unique at every depth. `serde_json` alone keeps the last of two equal names, others the first.

use serde_json::{Map, Value};

/// Reads an object; `None` where it is no object, or holds a name twice.
///
/// A name that comes twice is one member in the value and two in the text. A visitor that looked at names would depend on how numbers
/// arrive, which features of `serde_json` change that any crate of the application may switch on.
pub(crate) fn object(bytes: &[u8]) -> Option<Map<String, Value>> {
    let object: Map<String, Value> = serde_json::from_slice(bytes).ok()?;
    (members(&object) == colons(bytes)).then_some(object)
}

/// How many members an object has, those of the objects inside it included.
fn members(object: &Map<String, Value>) -> usize {
    object.len() + object.values().map(within).sum::<usize>()
}

fn within(value: &Value) -> usize {
    match value {
        Value::Object(object) => members(object),
        Value::Array(values) => values.iter().map(within).sum(),
        _ => 0,
    }
}

/// How many colons stand outside of strings: in well-formed JSON, one a member.
fn colons(bytes: &[u8]) -> usize {
    let (mut count, mut in_string, mut is_escaped) = (0, false, false);
    for byte in bytes {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = in_string,
            b'"' => in_string = !in_string,
            b':' => count += usize::from(!in_string),
            _ => {}
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeated_names_are_refused_at_every_depth() {
        let good = [
            "{}",
            r#"{"a":1,"b":{"a":[1.5,-2,null,true,"x",{}]}}"#,
            r#"{"a":{"x":1},"b":{"x":1}}"#,
            r#"{"a:\"b\\:":"c:\\\":d","e":[":",{":":":"}]}"#,
        ];
        for text in good {
            assert!(object(text.as_bytes()).is_some(), "{text}");
        }
        let bad = [
            r#"{"a":1,"a":1}"#,
            r#"{"a":1,"b":2,"a":3}"#,
            r#"{"a":1,"\u0061":2}"#,
            r#"{"b":{"a":1,"a":2}}"#,
            r#"{"b":[{"a":1,"a":2}]}"#,
            r#"{"a:":":","a:":":"}"#,
            r#"{"a":{"b":{"c":1}},"a":1}"#,
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
