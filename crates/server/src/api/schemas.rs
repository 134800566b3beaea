//! The schemas that are not derived from an answer: problems, request bodies, parameters.

use serde_json::Value;
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::{
    AdditionalProperties, ArrayBuilder, KnownFormat, ObjectBuilder, SchemaFormat, SchemaType, Type,
};
use utoipa::openapi::{Object, Required, Schema};

use crate::json::{Described, DescribedField, Kind, Shape};

/// A problem (RFC 9457), with the members that some of ours have.
pub(super) fn problem() -> Schema {
    let text = || ObjectBuilder::new().schema_type(Type::String);
    let seconds = ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(0));
    let wrong_field = ObjectBuilder::new().property("field", text()).property("message", text());
    let wrong_field = wrong_field.required("field").required("message");
    ObjectBuilder::new()
        .description(Some("What went wrong (RFC 9457). Clients match on `type`."))
        .property("type", text().description(Some("A URI that does not change.")))
        .property("title", text())
        .property("status", ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(400)).maximum(Some(599)))
        .property("detail", text())
        .property("request_id", text().description(Some("The id under which the log has the request.")))
        .property("errors", ArrayBuilder::new().items(wrong_field).description(Some("What is wrong with which field.")))
        .property("retry_after", seconds.description(Some("In how many seconds to try again.")))
        .property("endpoint", text().description(Some("The route whose limit is used up.")))
        .required("type")
        .required("title")
        .required("status")
        .required("detail")
        .required("request_id")
        .additional_properties(Some(AdditionalProperties::FreeForm(true)))
        .build()
        .into()
}

/// A request body. Null stands for a field that is missing.
pub(super) fn of_body(described: &Described) -> Schema {
    let body = described.fields.iter().fold(ObjectBuilder::new(), |body, field| {
        if field.required {
            body.property(field.name.as_str(), of_field(field)).required(field.name.as_str())
        } else {
            body.property(field.name.as_str(), or_null(of_field(field)))
        }
    });
    body.build().into()
}

/// A field of a body or a query.
pub(super) fn of_field(field: &DescribedField) -> Object {
    let text = ObjectBuilder::new().schema_type(Type::String);
    let number = |least: u64, most: u64| {
        let bound = |value: u64| Some(i64::try_from(value).unwrap_or(i64::MAX));
        ObjectBuilder::new().schema_type(Type::Integer).minimum(bound(least)).maximum(bound(most))
    };
    let schema = match (field.kind, field.shape) {
        (Kind::Flag, _) => ObjectBuilder::new().schema_type(Type::Boolean),
        (Kind::Whole { least, most }, _) | (Kind::Text, Some(Shape::Whole { least, most })) => number(least, most),
        (Kind::Password, None) => text.format(Some(SchemaFormat::KnownFormat(KnownFormat::Password))),
        (_, Some(Shape::Email)) => {
            text.format(Some(SchemaFormat::KnownFormat(KnownFormat::Email))).max_length(Some(254))
        }
        (_, Some(Shape::Length { least, most })) => text.min_length(Some(least)).max_length(Some(most)),
        (_, Some(Shape::OneOf(words))) => text.enum_values(Some(words.iter().copied())),
        (_, Some(Shape::Pattern(pattern))) => text.pattern(Some(pattern)),
        (_, None | Some(Shape::Whole { .. })) => text,
    };
    schema.build()
}

fn or_null(mut schema: Object) -> Object {
    if let SchemaType::Type(plain) = schema.schema_type {
        schema.schema_type = [plain, Type::Null].into_iter().collect();
    }
    schema.enum_values = schema.enum_values.map(|words| words.into_iter().chain([Value::Null]).collect());
    schema
}

/// A part of a path.
pub(super) fn path_parameter(name: &str) -> Parameter {
    let schema = ObjectBuilder::new().schema_type(Type::String);
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Path)
        .required(Required::True)
        .schema(Some(schema))
        .build()
}
