//! What the command line asks for.

/// What can be measured.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Group {
    Memory,
    Sqlite,
    Postgres,
    Redis,
    Bytes,
    GrowthMemory,
    GrowthPostgres,
    GrowthRedis,
}

impl Group {
    /// What is measured when nothing is named: all that takes no seeding of many sessions.
    const USUAL: [Self; 5] = [Self::Memory, Self::Sqlite, Self::Postgres, Self::Redis, Self::Bytes];
    const GROWTH: [Self; 3] = [Self::GrowthMemory, Self::GrowthPostgres, Self::GrowthRedis];

    fn named(name: &str) -> Option<&'static [Self]> {
        Some(match name {
            "memory" => &[Self::Memory],
            "sqlite" => &[Self::Sqlite],
            "postgres" => &[Self::Postgres],
            "redis" => &[Self::Redis],
            "bytes" => &[Self::Bytes],
            "growth" => &Self::GROWTH,
            "growth-memory" => &[Self::GrowthMemory],
            "growth-postgres" => &[Self::GrowthPostgres],
            "growth-redis" => &[Self::GrowthRedis],
            _ => return None,
        })
    }
}

/// What the command line asks for.
#[derive(PartialEq, Eq, Debug)]
pub(crate) struct Arguments {
    /// In the order named.
    pub(crate) groups: Vec<Group>,
    /// Whether it only has to be shown that it runs.
    pub(crate) quick: bool,
    /// The larger number of sessions of the growth.
    pub(crate) sessions: usize,
}

impl Arguments {
    const USAGE: &'static str = "bench [--quick] [--sessions N] [GROUP …], where GROUP is memory, sqlite, postgres, redis, \
        bytes, growth, growth-memory, growth-postgres or growth-redis";

    pub(crate) fn parse(words: impl IntoIterator<Item = String>) -> Result<Self, String> {
        let (mut groups, mut quick, mut sessions) = (Vec::new(), false, None);
        let mut words = words.into_iter();
        while let Some(word) = words.next() {
            match word.as_str() {
                "--quick" => quick = true,
                "--sessions" => {
                    let number = words.next().and_then(|word| word.parse().ok()).filter(|number| *number >= 1000);
                    sessions = Some(number.ok_or("--sessions needs a number from 1000")?);
                }
                name => groups.extend(Group::named(name).ok_or_else(|| format!("{name}? {}", Self::USAGE))?),
            }
        }
        if groups.is_empty() {
            groups.extend(Group::USUAL);
        }
        let sessions = sessions.unwrap_or(if quick { 2000 } else { 1_000_000 });
        Ok(Self { groups, quick, sessions })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Arguments, String> {
        Arguments::parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn groups_are_named_and_growth_is_asked_for() {
        let usual = parse("").unwrap();
        assert_eq!((usual.groups, usual.quick), (Group::USUAL.to_vec(), false));
        let growth = parse("growth redis --sessions 5000 --quick").unwrap();
        assert_eq!(growth.groups.len(), 4);
        assert_eq!((growth.sessions, growth.quick), (5000, true));
        for wrong in ["speed", "--sessions", "--sessions many", "--sessions 10", "--fast"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
