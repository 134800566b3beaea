//! What a body or a query holds, as its own reading tells: the description cannot say anything else.

use serde_json::Map;

use super::{Fields, RequestBody};

/// The fields of a body or a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Described {
    pub(crate) fields: Vec<DescribedField>,
    /// Whether there need be none at all.
    pub(crate) may_be_empty: bool,
    /// Shapes of fields that are not read: there must be none.
    #[cfg(test)]
    pub(crate) lost_shapes: Vec<&'static str>,
}

/// A field that is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DescribedField {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    /// What is to be known beyond its kind.
    pub(crate) shape: Option<Shape>,
    pub(crate) required: bool,
}

/// As what a field is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    Password,
    Flag,
    Whole { least: u64, most: u64 },
}

/// What a string has to look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// An e-mail address.
    Email,
    /// From so many to so many characters.
    Length { least: usize, most: usize },
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// A whole number in a query, where everything is text.
    Whole { least: u64, most: u64 },
    /// Of this regular expression.
    Pattern(&'static str),
}

impl Described {
    /// Reads nothing at all, and notes what is asked for.
    pub(crate) fn of<T: RequestBody>() -> Self {
        let mut fields = Fields { members: Map::new(), errors: Vec::new(), seen: Some(Vec::new()) };
        drop(T::read(&mut fields));
        let mut seen = fields.seen.unwrap_or_default();
        for field in &mut seen {
            let shape = T::SHAPES.iter().find(|(name, _)| *name == field.name);
            field.shape = shape.map(|(_, shape)| *shape);
        }
        #[cfg(test)]
        let lost_shapes = T::SHAPES.iter().map(|(name, _)| *name);
        #[cfg(test)]
        let lost_shapes = lost_shapes.filter(|name| seen.iter().all(|field| field.name != *name)).collect();
        Self {
            fields: seen,
            may_be_empty: T::MAY_BE_EMPTY,
            #[cfg(test)]
            lost_shapes,
        }
    }
}
