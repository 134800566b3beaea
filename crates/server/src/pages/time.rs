//! Times for people: how long ago, and exactly when in UTC.

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use maud::{Markup, html};

/// A `<time>` element: relative words, and the exact time for eyes and machines.
pub(super) fn ago(then: DateTime<Utc>, now: DateTime<Utc>) -> Markup {
    html! {
        time datetime=(then.to_rfc3339_opts(SecondsFormat::Secs, true)) {
            (words(now - then))
            " " span.exact { (exact(then)) }
        }
    }
}

/// "24 Nov 2026, 03:14 UTC".
fn exact(time: DateTime<Utc>) -> String {
    time.format("%-d %b %Y, %H:%M UTC").to_string()
}

/// "3 hours ago"; clocks that disagree a little make no future.
fn words(age: TimeDelta) -> String {
    let (number, unit) = match (age.num_minutes(), age.num_hours(), age.num_days()) {
        (..1, ..) => return "Just now".to_owned(),
        (minutes, ..1, _) => (minutes, "minute"),
        (_, hours, ..1) => (hours, "hour"),
        (_, _, days) => (days, "day"),
    };
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {unit}{plural} ago")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_in_words() {
        for (seconds, text) in [
            (-90, "Just now"),
            (0, "Just now"),
            (59, "Just now"),
            (60, "1 minute ago"),
            (3599, "59 minutes ago"),
            (3600, "1 hour ago"),
            (86_399, "23 hours ago"),
            (86_400, "1 day ago"),
            (40 * 86_400, "40 days ago"),
        ] {
            assert_eq!(words(TimeDelta::seconds(seconds)), text, "{seconds}");
        }
    }

    #[test]
    fn the_element_names_the_exact_time() {
        let then = DateTime::from_timestamp_millis(1_795_489_441_500).unwrap();
        let html = ago(then, then + TimeDelta::hours(2)).into_string();
        assert_eq!(
            html,
            "<time datetime=\"2026-11-24T03:04:01Z\">2 hours ago <span class=\"exact\">24 Nov 2026, 03:04 UTC</span></time>"
        );
    }
}
