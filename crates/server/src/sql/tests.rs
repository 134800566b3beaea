//! Statements in the words of each database.

use super::statement::Value;
use super::*;

fn spoken(query: Query, engine: Engine) -> (String, Vec<i64>) {
    let (text, values) = query.spoken(engine);
    let number = |value| if let Value::Whole(Some(number)) = value { number } else { panic!("a number") };
    (text.into_owned(), values.into_iter().map(number).collect())
}

#[test]
fn parameters_are_those_of_the_database() {
    let text = "SELECT a FROM b WHERE c = ?2 AND (d < ?1 OR e = ?2) LIMIT ?10 FOR UPDATE";
    let all = |query: Query| (1..=10).fold(query, |query, number| query.bind(i64::from(number)));
    let (sqlite, values) = spoken(all(query(text)), Engine::Sqlite);
    assert_eq!(sqlite, "SELECT a FROM b WHERE c = ?2 AND (d < ?1 OR e = ?2) LIMIT ?10");
    assert_eq!(values, (1..=10).collect::<Vec<_>>());
    let (postgres, values) = spoken(all(query(text)), Engine::Postgres);
    assert_eq!(postgres, "SELECT a FROM b WHERE c = $2 AND (d < $1 OR e = $2) LIMIT $10 FOR UPDATE");
    assert_eq!(values.len(), 10);
    let (mysql, values) = spoken(all(query(text)), Engine::MySql);
    assert_eq!(mysql, "SELECT a FROM b WHERE c = ? AND (d < ? OR e = ?) LIMIT ? FOR UPDATE");
    assert_eq!(values, [2, 1, 2, 10]);
    let plain = || query("a = ? AND b = ?").bind(1_i64).bind(2_i64);
    assert_eq!(spoken(plain(), Engine::Postgres), ("a = $1 AND b = $2".to_owned(), vec![1, 2]));
    assert_eq!(spoken(plain(), Engine::MySql), ("a = ? AND b = ?".to_owned(), vec![1, 2]));
    assert_eq!(spoken(plain(), Engine::Sqlite), ("a = ? AND b = ?".to_owned(), vec![1, 2]));
}

#[test]
fn what_differs_is_chosen_by_the_database() {
    let words = || query("lite").mysql("my").postgres("post");
    for (engine, text) in [(Engine::Sqlite, "lite"), (Engine::MySql, "my"), (Engine::Postgres, "post")] {
        assert_eq!(spoken(words(), engine).0, text);
    }
}
