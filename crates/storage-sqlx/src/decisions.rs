//! The pages of `docs/decisions` print the reference DDL and the statements as they are made: each block of SQL there is one of these.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a failed unwrap is a failed test")]

use std::fmt::Write as _;
use std::path::PathBuf;

use sqlx::{MySql, Postgres, Sqlite};

use crate::dialect::Dialect;
use crate::plan::Plan;
use crate::{EpochTable, FeedTable, OnceTable, SessionTable, reference_ddl};

const PRINT: &str = "cargo test -p session-manager-storage-sqlx --lib -- --ignored print_the_decision_pages";

type Blocks = Vec<(&'static str, String)>;

fn mapping() -> SessionTable {
    SessionTable::new("sessions")
        .epochs(EpochTable::new("session_epochs"))
        .once(OnceTable::new("session_once"))
        .feed(FeedTable::new("session_feed"))
}

fn blocks<DB: Dialect>(mapping: SessionTable) -> Blocks {
    let ddl = reference_ddl::<DB>(&mapping).unwrap();
    let plan = Plan::new::<DB>(mapping).unwrap();
    let (epochs, once, feed) = (plan.epochs.unwrap(), plan.once.unwrap(), plan.feed.unwrap());
    let mut blocks = vec![
        ("tables", ddl.trim_end().to_owned()),
        ("read", wrapped(&plan.read_one)),
        ("update", wrapped(plan.guarded.as_ref().map_or(plan.revise.as_ref().unwrap(), |guarded| &guarded.revise))),
        ("touch", wrapped(plan.touch_many.as_ref().unwrap_or(&plan.touch))),
        ("raise/user", wrapped(&epochs.user.raise)),
        ("raise/user known", wrapped(&epochs.user.raise_known)),
        ("raise/user expected", wrapped(&epochs.user.raise_expected)),
        ("epochs", wrapped(&epochs.read)),
        ("remember_once", wrapped(&once.remember)),
        ("feed/announce", wrapped(&format!("{}{}", feed.announce.0, feed.announce.1))),
        ("feed/since", wrapped(&feed.since)),
    ];
    if let Some(lock) = &plan.lock_one {
        blocks.push(("lock", wrapped(lock)));
    }
    if let Some(quick) = &plan.quick {
        blocks.extend([
            ("insert/enter", wrapped(&epochs.user.enter_returning)),
            ("insert/add", wrapped(&quick.insert.add[0])),
            ("advance", wrapped(&quick.advance)),
            ("revoke/one", wrapped(&quick.revoke)),
            ("revoke/all", wrapped(&quick.revoke_all)),
            ("bump/keep", wrapped(&quick.keep)),
            ("purge/one", wrapped(&quick.remove)),
            ("purge/once", wrapped(once.garbage.sweep.as_ref().unwrap())),
        ]);
        blocks.extend(quick.insert.evict.as_ref().map(|evict| ("insert/evict", wrapped(&evict[0]))));
        blocks.extend(quick.clean.as_ref().map(|clean| ("purge/ended", wrapped(clean))));
    } else {
        blocks.extend([
            ("insert/enter", wrapped(&epochs.user.enter)),
            ("insert/room", wrapped(&epochs.room)),
            ("insert/add", wrapped(&plan.insert)),
            ("advance", wrapped(&plan.guarded.as_ref().unwrap().advance)),
            ("revoke/one", wrapped(&plan.guarded.as_ref().unwrap().end)),
            ("remember_once/again", wrapped(once.again.as_ref().unwrap())),
        ]);
    }
    blocks
}

fn pages() -> [(&'static str, Blocks); 3] {
    [
        ("0002-storage-as-postgresql.md", blocks::<Postgres>(mapping().native())),
        ("0003-storage-as-sqlite.md", blocks::<Sqlite>(mapping())),
        ("0004-storage-as-mysql.md", blocks::<MySql>(mapping().native())),
    ]
}

/// A statement in lines of bounded length.
fn wrapped(sql: &str) -> String {
    let (mut text, mut length) = (String::new(), 0);
    for word in sql.split(' ') {
        let fits = length + 1 + word.len() <= 132;
        let gap = if length == 0 {
            ""
        } else if fits {
            " "
        } else {
            "\n  "
        };
        length = if fits { length + gap.len() + word.len() } else { 2 + word.len() };
        write!(text, "{gap}{word}").unwrap();
    }
    text
}

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/decisions").join(name)
}

/// The page with each of its blocks as it is now.
fn printed(page: &str, blocks: &Blocks) -> String {
    let mut parts = page.split("```sql\n-- ");
    let mut text = parts.next().unwrap().to_owned();
    for part in parts {
        let (name, rest) = part.split_once('\n').unwrap();
        let after = rest.split_once("```").unwrap().1;
        let block = blocks.iter().find(|(known, _)| *known == name);
        let (_, sql) = block.unwrap_or_else(|| panic!("there is no statement {name}"));
        write!(text, "```sql\n-- {name}\n{sql}\n```{after}").unwrap();
    }
    text
}

#[test]
#[ignore = "writes the pages"]
fn print_the_decision_pages() {
    for (name, blocks) in pages() {
        let page = std::fs::read_to_string(path(name)).unwrap();
        std::fs::write(path(name), printed(&page, &blocks)).unwrap();
    }
}

#[test]
fn the_decision_pages_hold_the_statements() {
    for (name, blocks) in pages() {
        let page = std::fs::read_to_string(path(name)).unwrap();
        assert!(printed(&page, &blocks) == page, "{name} holds others; print it anew with: {PRINT}");
        for (statement, _) in &blocks {
            assert_eq!(page.matches(&format!("```sql\n-- {statement}\n")).count(), 1, "{name}: {statement}");
        }
        assert_eq!(page.matches("```sql\n").count(), blocks.len(), "{name} has blocks of its own");
    }
}
