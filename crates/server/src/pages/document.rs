//! The frame of every page, and the response that carries it.

use axum::response::{Html, IntoResponse, Response};
use http::{HeaderName, HeaderValue, StatusCode, header};
use maud::{DOCTYPE, Markup, html};

use super::notice::Notice;
use super::{assets, icons};

/// What the pages may load and do: our style sheet and icon, forms that post to us. No script, no frame.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self'; \
     form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// For a page with our script, which may ask us, and nobody else.
const WITH_SCRIPT: &str = "default-src 'none'; script-src 'self'; connect-src 'self'; style-src 'self'; img-src 'self'; \
     form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// Other sites learn nothing, and our own forms keep their `Origin`: with `no-referrer` browsers send `Origin: null`.
const REFERRER_POLICY: &str = "same-origin";

/// A page on its way out.
#[derive(Clone, Debug)]
pub(super) struct Page {
    status: StatusCode,
    policy: &'static str,
    referrer_policy: &'static str,
    /// Where its forms may lead besides to us.
    form_targets: Vec<String>,
    html: String,
}

impl Page {
    /// A page for somebody who is not signed in: a form or a message beside what this service is about.
    pub(super) fn outside(title: &str, notice: Option<Notice>, content: &Markup) -> Self {
        Self::of(
            title,
            &html! {
                div.split {
                    aside.pitch aria-label="About this service" { (pitch()) }
                    main #main tabindex="-1" {
                        div.sheet {
                            (brand())
                            @if let Some(notice) = notice { (notice.render()) }
                            (content)
                        }
                    }
                }
            },
        )
    }

    /// A page for somebody who is signed in. `who` names the account.
    pub(super) fn inside(title: &str, who: &str, notice: Option<Notice>, content: &Markup) -> Self {
        Self::of(
            title,
            &html! {
                header.bar {
                    div {
                        (brand())
                        span.who { span.hidden { "Signed in as " } bdi { (who) } }
                        form method="post" action="/sign-out" { button.quiet type="submit" { "Sign out" } }
                    }
                }
                main.page #main tabindex="-1" {
                    @if let Some(notice) = notice { (notice.render()) }
                    (content)
                }
                footer.foot { "Times are in UTC. Places are where an address is registered, and may be off." }
            },
        )
    }

    /// A page to look things up in, for anybody.
    pub(super) fn reference(title: &str, content: &Markup) -> Self {
        Self::of(
            title,
            &html! {
                header.bar { div { (brand()) } }
                main.page #main tabindex="-1" { (content) }
            },
        )
    }

    /// With another status than 200.
    pub(super) const fn status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    /// For a page with a secret in its address: the address goes nowhere, not even to our own style sheet.
    pub(super) const fn without_referrer(mut self) -> Self {
        self.referrer_policy = "no-referrer";
        self
    }

    /// For a page with somebody's address in its own, and with forms: where it was is told as the site alone.
    pub(super) const fn with_bare_referrer(mut self) -> Self {
        self.referrer_policy = "strict-origin";
        self
    }

    /// For a page with a script of ours in its content. What the page says does not depend on it.
    pub(super) const fn with_script(mut self) -> Self {
        self.policy = WITH_SCRIPT;
        self
    }

    /// For a page whose forms lead on to other sites; browsers ask the policy of the page about redirects too.
    pub(super) fn with_form_targets(mut self, origins: impl Iterator<Item = String>) -> Self {
        self.form_targets.extend(origins);
        self
    }

    fn of(title: &str, body: &Markup) -> Self {
        let document = html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    meta name="robots" content="noindex";
                    title { (title) " – Session Manager" }
                    link rel="icon" type="image/svg+xml" href=(assets::icon());
                    link rel="stylesheet" href=(assets::style());
                }
                body {
                    a.skip href="#main" { "Skip to content" }
                    (body)
                }
            }
        };
        Self {
            status: StatusCode::OK,
            policy: CONTENT_SECURITY_POLICY,
            referrer_policy: REFERRER_POLICY,
            form_targets: Vec::new(),
            html: document.into_string(),
        }
    }
}

impl IntoResponse for Page {
    fn into_response(self) -> Response {
        let form_action = [&["form-action 'self'".to_owned()], self.form_targets.as_slice()].concat().join(" ");
        let policy = CONTENT_SECURITY_POLICY.replace("form-action 'self'", &form_action);
        let mut response = (self.status, Html(self.html)).into_response();
        let headers = response.headers_mut();
        for (name, value) in [
            (header::CONTENT_SECURITY_POLICY, self.policy),
            (header::REFERRER_POLICY, self.referrer_policy),
            (header::CACHE_CONTROL, "no-store"),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        if !self.form_targets.is_empty()
            && let Ok(policy) = HeaderValue::try_from(policy)
        {
            headers.insert(header::CONTENT_SECURITY_POLICY, policy);
        }
        response
    }
}

fn brand() -> Markup {
    html! { a.brand href="/" { (icons::mark()) "Session Manager" } }
}

fn pitch() -> Markup {
    html! {
        (brand())
        div {
            p.claim { "Know where you are signed in." }
            ul {
                li { (icons::done()) "Every device, with place and time" }
                li { (icons::done()) "Sign out any of them, at once" }
                li { (icons::done()) "A mail when a new device appears" }
            }
        }
        p.small { "Open source, MIT or Apache-2.0" }
    }
}
