//! The API in words, from the same table as the endpoints themselves.

use maud::{Markup, html};

use super::document::Page;
use crate::api::{self, Documented, Reads};
use crate::json::{DescribedField, Kind};

/// A page without any script. Programs read `/openapi.json`.
pub(super) async fn show() -> Page {
    let endpoints = api::documented();
    let content = html! {
        div {
            h1 { "The API" }
            p.lead {
                (endpoints.len()) " endpoints, for programs also as " a href="/openapi.json" { "OpenAPI" } "."
            }
        }
        @for endpoint in &endpoints { (section(endpoint)) }
    };
    Page::reference("The API", &content)
}

fn section(endpoint: &Documented) -> Markup {
    let fields = match endpoint.description.reads {
        Reads::Nothing => Vec::new(),
        Reads::Body(described) | Reads::Query(described) => described().fields,
    };
    let reads = if matches!(endpoint.description.reads, Reads::Query(_)) { "Query" } else { "Body" };
    let heading = format!("{} {}", endpoint.method, endpoint.path);
    html! {
        section.section {
            h2 { code { (heading) } }
            p { (endpoint.description.summary) "." }
            dl.facts {
                div { dt { "For" } dd { (endpoint.who) } }
                div { dt { "Limit" } dd { (endpoint.limit) } }
                div { dt { "Success" } dd { (endpoint.description.status) } }
                div { dt { "Recorded of you" } dd { (endpoint.description.records) } }
            }
            @if !fields.is_empty() {
                h3 { (reads) }
                ul { @for field in &fields { li { (line(field)) } } }
            }
            h3 { "Errors" }
            ul { @for (status, when) in &endpoint.problems { li { (status) ": " (when) } } }
        }
    }
}

fn line(field: &DescribedField) -> Markup {
    let kind = match field.kind {
        Kind::Text => "text",
        Kind::Password => "password",
        Kind::Flag => "true or false",
        Kind::Whole { .. } => "whole number",
    };
    html! { code { (field.name) } ", " (kind) @if !field.required { ", may be missing" } }
}
