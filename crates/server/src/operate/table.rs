//! Tables for people, on a terminal of any width.

use chrono::{DateTime, SecondsFormat, Utc};
use comfy_table::{ContentArrangement, Table, presets};

/// A table without lines, as wide as the terminal at most.
pub(super) struct Rows(Table);

impl Rows {
    pub(super) fn new(header: &[&str]) -> Self {
        let mut table = Table::new();
        table.load_preset(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic).set_header(header);
        Self(table)
    }

    /// Adds a row. What users have named themselves must not move the cursor.
    pub(super) fn add(&mut self, cells: &[String]) {
        self.0.add_row(cells.iter().map(|cell| printable(cell)));
    }

    pub(super) fn into_text(self) -> String {
        let lines: Vec<_> = self.0.lines().map(|line| line.trim_end().to_owned()).collect();
        lines.join("\n") + "\n"
    }
}

/// Without control characters, and without what reverses the direction of writing.
pub(super) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() || crate::accounts::is_unprintable(c) { '\u{fffd}' } else { c }).collect()
}

/// Whole seconds, UTC.
pub(super) fn time(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_users_have_named_cannot_draw() {
        let mut rows = Rows::new(&["ID", "DEVICE"]);
        rows.add(&["1".to_owned(), "\u{1b}[2Jphone\u{202e}\n".to_owned()]);
        let text = rows.into_text();
        assert!(!text.contains('\u{1b}') && !text.contains('\u{202e}'), "{text:?}");
        assert_eq!(text.lines().count(), 2, "{text:?}");
        assert!(text.starts_with(" ID") && text.contains("phone"), "{text:?}");
    }
}
