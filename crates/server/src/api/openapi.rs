//! The table of endpoints as an OpenAPI 3.1 document. What follows from a row, its guard, its limit and its body, is said here for all rows.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use utoipa::openapi::header::Header;
use utoipa::openapi::path::{HttpMethod, Operation, OperationBuilder, Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::schema::{Components, ComponentsBuilder, ObjectBuilder, Type};
use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme,
};
use utoipa::openapi::{
    Content, InfoBuilder, License, OpenApi, OpenApiBuilder, PathItem, PathsBuilder, Ref, Required, Response,
    ResponseBuilder, Server,
};

use super::description::{Description, Reads};
use super::schemas;
use super::{Endpoint, REFRESH, Verb, Who, endpoints, template};
use crate::limits;

const PROBLEM: &str = "Problem";
const BEARER: &str = "bearer";
const COOKIE: &str = "cookie";
const REFRESH_COOKIE: &str = "refreshCookie";

static DOCUMENT: LazyLock<String> = LazyLock::new(|| build(&endpoints()).to_json().unwrap_or_default());

/// An endpoint in words, for pages and lists.
#[derive(Clone, Debug)]
pub(crate) struct Documented {
    pub(crate) method: &'static str,
    pub(crate) path: String,
    pub(crate) who: &'static str,
    pub(crate) limit: String,
    pub(crate) description: Description,
    /// The statuses that are not a success, each with when it comes.
    pub(crate) problems: BTreeMap<u16, String>,
}

/// The document, as JSON.
pub(crate) fn document() -> &'static str {
    &DOCUMENT
}

/// All endpoints in words.
pub(crate) fn documented() -> Vec<Documented> {
    endpoints().iter().map(Endpoint::documented).collect()
}

fn build(endpoints: &[Endpoint]) -> OpenApi {
    let paths = endpoints.iter().fold(PathsBuilder::new(), |paths, row| {
        paths.path(template(row.path), PathItem::new(row.verb.method(), row.operation()))
    });
    let info = InfoBuilder::new()
        .title("Session Manager")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some("The account API of the reference service of session-manager."))
        .license(Some(License::new("MIT OR Apache-2.0")));
    OpenApiBuilder::new()
        .info(info)
        .servers(Some([Server::new("/")]))
        .paths(paths)
        .components(Some(components(endpoints)))
        .build()
}

fn components(endpoints: &[Endpoint]) -> Components {
    let cookie =
        |name: &str, text: &str| SecurityScheme::ApiKey(ApiKey::Cookie(ApiKeyValue::with_description(name, text)));
    let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some("The access token."));
    let components = ComponentsBuilder::new()
        .schema(PROBLEM, schemas::problem())
        .security_scheme(BEARER, SecurityScheme::Http(bearer.build()))
        .security_scheme(
            COOKIE,
            cookie("__Host-session", "The access token of a browser; unsafe methods only from this site's own pages."),
        )
        .security_scheme(REFRESH_COOKIE, cookie("__Secure-renewal", "The refresh token of a browser."));
    let answers = endpoints.iter().filter_map(|row| row.description.answer).map(|answer| answer());
    let components = answers.fold(components, |components, answer| {
        components.schemas_from_iter(answer.parts).schema(answer.name, answer.schema)
    });
    components.build()
}

impl Verb {
    const fn method(self) -> HttpMethod {
        match self {
            Self::Get => HttpMethod::Get,
            Self::Post => HttpMethod::Post,
            Self::Patch => HttpMethod::Patch,
            Self::Delete => HttpMethod::Delete,
        }
    }
}

impl Who {
    /// As the list of endpoints says it.
    const fn words(self) -> &'static str {
        match self {
            Self::Public => "everybody",
            Self::Authenticated => "signed in",
            Self::Fresh => "signed in, fresh",
            Self::SelfOrAdmin => "the user, administrators",
            Self::Admin => "administrators",
            Self::FreshAdmin => "administrators, fresh",
        }
    }
}

impl Endpoint {
    fn documented(&self) -> Documented {
        Documented {
            method: self.verb.name(),
            path: template(self.path),
            who: self.who.words(),
            limit: self.limit.to_string(),
            description: self.description,
            problems: self.problems(),
        }
    }

    /// The row's own errors, and those that its guard, its limit and its body bring.
    fn problems(&self) -> BTreeMap<u16, String> {
        let described = match self.description.reads {
            Reads::Nothing => None,
            Reads::Body(described) | Reads::Query(described) => Some(described()),
        };
        let has_body = matches!(self.description.reads, Reads::Body(_));
        let (guarded, unsafe_method) = (self.who != Who::Public, self.verb != Verb::Get);
        let limited = self.limit.bound().is_some() || guarded;
        let following = [
            (has_body, 400, "the body is not JSON"),
            (guarded, 400, "several credentials that differ"),
            (guarded, 401, "no valid access token"),
            (guarded && unsafe_method, 403, "by cookie from another site"),
            (matches!(self.who, Who::Fresh | Who::FreshAdmin), 403, "the sign-in is not fresh: step-up"),
            (matches!(self.who, Who::Admin | Who::FreshAdmin), 403, "for administrators"),
            (has_body, 413, "the body is too large"),
            (has_body, 415, "the body is no JSON by its content type"),
            (described.is_some_and(|described| !described.fields.is_empty()), 422, "fields are missing or wrong"),
            (limited, 429, "too many requests"),
            (true, 500, "a defect of the service"),
            (true, 503, "the storage cannot be reached"),
        ];
        let following = following.into_iter().filter(|(holds, ..)| *holds).map(|(_, status, when)| (status, when));
        let mut problems: BTreeMap<u16, String> = BTreeMap::new();
        for (status, when) in self.description.problems.iter().copied().chain(following) {
            let text = problems.entry(status).or_default();
            if !text.is_empty() {
                text.push_str("; ");
            }
            text.push_str(when);
        }
        problems
    }

    fn operation(&self) -> Operation {
        let Description { number, summary, reads, .. } = self.description;
        let number = number.map(|number| format!("Endpoint {number}. ")).unwrap_or_default();
        let text = format!("{number}For: {}. Limit: {}.", self.who.words(), self.limit);
        let tag = self.path.split('/').nth(1).unwrap_or_default();
        let mut operation = OperationBuilder::new()
            .tag(tag)
            .summary(Some(summary))
            .description(Some(text))
            .operation_id(Some(self.operation_id()));
        for name in path_parameters(self.path) {
            operation = operation.parameter(schemas::path_parameter(name));
        }
        match reads {
            Reads::Nothing => {}
            Reads::Query(described) => {
                for field in described().fields {
                    operation = operation.parameter(query_parameter(&field));
                }
            }
            Reads::Body(described) => {
                let described = described();
                let required = if described.may_be_empty { Required::False } else { Required::True };
                let content = Content::new(Some(schemas::of_body(&described)));
                let body = RequestBodyBuilder::new().content("application/json", content).required(Some(required));
                operation = operation.request_body(Some(body.build()));
            }
        }
        for requirement in self.security() {
            operation = operation.security(requirement);
        }
        operation = operation.response(self.description.status.to_string(), self.success());
        for (status, when) in self.problems() {
            operation = operation.response(status.to_string(), self.problem(status, &when));
        }
        operation.build()
    }

    /// `post_auth_login`.
    fn operation_id(&self) -> String {
        let path = self.path.replace(['{', '}'], "").replace(['/', '-'], "_");
        format!("{}{path}", self.verb.name().to_ascii_lowercase())
    }

    fn security(&self) -> Vec<SecurityRequirement> {
        let one_of =
            |names: &[&str]| names.iter().map(|name| SecurityRequirement::new::<_, _, &str>(*name, [])).collect();
        match (self.who, self.path) {
            // The token stands in the body, or in the cookie of a browser.
            (Who::Public, REFRESH) => {
                let mut requirements = vec![SecurityRequirement::default()];
                requirements.extend::<Vec<_>>(one_of(&[REFRESH_COOKIE]));
                requirements
            }
            (Who::Public, _) => vec![SecurityRequirement::default()],
            _ => one_of(&[BEARER, COOKIE]),
        }
    }

    fn success(&self) -> Response {
        let response = ResponseBuilder::new().description("Success.");
        let response = match self.description.answer {
            None => response,
            Some(answer) => {
                let schema = Ref::from_schema_name(answer().name);
                response.content("application/json", Content::new(Some(schema)))
            }
        };
        self.with_limit_headers(response).build()
    }

    fn problem(&self, status: u16, when: &str) -> Response {
        let content = Content::new(Some(Ref::from_schema_name(PROBLEM)));
        let mut first = when.chars();
        let sentence =
            first.next().map(|first| first.to_uppercase().to_string()).unwrap_or_default() + first.as_str() + ".";
        let response = ResponseBuilder::new().description(sentence).content("application/problem+json", content);
        let response = match status {
            401 => response.header("WWW-Authenticate", text_header("How to authenticate (RFC 6750).")),
            429 | 503 => response.header("Retry-After", number_header("In how many seconds to try again.")),
            _ => response,
        };
        // What fails before or within the counting cannot say how it stands.
        if status >= 500 { response.build() } else { self.with_limit_headers(response).build() }
    }

    fn with_limit_headers(&self, response: ResponseBuilder) -> ResponseBuilder {
        if self.limit.bound().is_none() {
            return response;
        }
        limits::HEADERS.iter().fold(response, |response, (name, text)| response.header(*name, number_header(text)))
    }
}

fn path_parameters(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
}

fn query_parameter(field: &crate::json::DescribedField) -> Parameter {
    ParameterBuilder::new()
        .name(field.name.as_str())
        .parameter_in(ParameterIn::Query)
        .required(if field.required { Required::True } else { Required::False })
        .schema(Some(schemas::of_field(field)))
        .build()
}

fn number_header(text: &str) -> Header {
    let mut header = Header::new(ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(0)));
    header.description = Some(text.to_owned());
    header
}

fn text_header(text: &str) -> Header {
    let mut header = Header::default();
    header.description = Some(text.to_owned());
    header
}
