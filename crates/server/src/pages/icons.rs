//! Line icons as inline SVG: decoration, so screen readers pass over them.

use maud::{Markup, PreEscaped, html};
use session_manager_core::DeviceKind;

/// The icon of a kind of device.
pub(super) fn device(kind: DeviceKind) -> Markup {
    line(match kind {
        DeviceKind::Desktop => r#"<rect x="4" y="5" width="16" height="11" rx="1.5"/><path d="M2 19.5h20"/>"#,
        DeviceKind::Phone => r#"<rect x="7" y="2.5" width="10" height="19" rx="2.2"/><path d="M10.8 18.4h2.4"/>"#,
        DeviceKind::Tablet => r#"<rect x="4.5" y="3" width="15" height="18" rx="2"/><path d="M10.8 18h2.4"/>"#,
        DeviceKind::Tv => r#"<rect x="2.5" y="5" width="19" height="12" rx="1.5"/><path d="M8 20.5h8M12 17v3.5"/>"#,
        DeviceKind::Embedded => {
            r#"<rect x="7" y="7" width="10" height="10" rx="1.5"/><path d="M10 3v4M14 3v4M10 17v4M14 17v4M3 10h4M3 14h4M17 10h4M17 14h4"/>"#
        }
        DeviceKind::Bot => {
            r#"<rect x="2.5" y="4.5" width="19" height="15" rx="2"/><path d="m6.5 9.5 3 2.5-3 2.5M12 15h5"/>"#
        }
        _ => {
            r#"<circle cx="12" cy="12" r="9"/><path d="M9.6 9.4a2.5 2.5 0 1 1 3.6 2.3c-.8.4-1.2.9-1.2 1.8M12 16.6v.1"/>"#
        }
    })
}

/// A check mark in a circle.
pub(super) fn done() -> Markup {
    line(r#"<circle cx="12" cy="12" r="9"/><path d="m8 12.3 2.7 2.7L16 9.5"/>"#)
}

/// Two links of a chain.
pub(super) fn link() -> Markup {
    line(
        r#"<path d="M10 14a4 4 0 0 0 5.7 0l3-3A4 4 0 0 0 13 5.3l-1 1"/><path d="M14 10a4 4 0 0 0-5.7 0l-3 3A4 4 0 0 0 11 18.7l1-1"/>"#,
    )
}

/// An exclamation mark in a circle.
pub(super) fn warning() -> Markup {
    line(r#"<circle cx="12" cy="12" r="9"/><path d="M12 7.5v5.2M12 16.3v.1"/>"#)
}

/// The mark of the service: two devices that share a key.
pub(super) fn mark() -> Markup {
    html! {
        svg.mark viewBox="0 0 32 32" width="28" height="28" aria-hidden="true" focusable="false" {
            (PreEscaped(r#"<rect width="32" height="32" rx="9" class="tile"/><path d="M9.5 11.5a2 2 0 0 1 2-2h9a2 2 0 0 1 2 2V17h-13z" class="glass"/><path d="M7.5 20.5h9" class="stroke"/><circle cx="21.5" cy="21.5" r="4" class="dot"/>"#))
        }
    }
}

fn line(paths: &'static str) -> Markup {
    html! {
        svg.icon viewBox="0 0 24 24" width="24" height="24" fill="none" stroke="currentColor" stroke-width="1.6"
            stroke-linecap="round" stroke-linejoin="round" aria-hidden="true" focusable="false" {
            (PreEscaped(paths))
        }
    }
}
