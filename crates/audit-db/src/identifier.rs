//! Names of tables and columns: checked before they are quoted.

use std::fmt;

use session_manager_core::{Error, ErrorKind, Result};

/// The longest name that every database accepts.
const MAX_BYTES: usize = 63;

/// The name of a table, perhaps in a schema.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct TableName {
    pub(crate) schema: Option<String>,
    pub(crate) name: String,
}

impl TableName {
    /// Reads `table` or `schema.table`.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let (schema, name) = match text.split_once('.') {
            Some((schema, name)) => (Some(checked(schema)?), checked(name)?),
            None => (None, checked(text)?),
        };
        Ok(Self { schema, name })
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.schema {
            Some(schema) => write!(f, "{schema}.{}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

/// Checks a column's name.
pub(crate) fn checked(name: &str) -> Result<String> {
    let begins = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
    if begins
        && name.len() <= MAX_BYTES
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'$')
    {
        return Ok(name.to_owned());
    }
    Err(Error::new(ErrorKind::Misconfigured, "audit table")
        .because("a table or column name has 1 to 63 ASCII letters, digits, _ or $, and begins with a letter or _"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_names_are_refused() {
        for good in ["audit", "_x", "app.audit", "S1$x", &"a".repeat(63)] {
            assert!(TableName::parse(good).is_ok(), "{good}");
        }
        let long = "a".repeat(64);
        let hostile = [
            "",
            ".",
            "a.",
            ".a",
            "a.b.c",
            "1a",
            "a b",
            "a\"b",
            "a;drop table x",
            "a'--",
            "ä",
            "a\0",
            "$a",
            "a`b",
            "a-b",
            "a\n",
            &long,
        ];
        for bad in hostile {
            assert!(TableName::parse(bad).is_err(), "{bad:?}");
        }
        assert!(checked("a.b").is_err());
    }
}
