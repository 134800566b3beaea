//! A users table with everybody that the conformance suite signs in.

/// The statements that make a table `users` of these columns, the first of them the user id, and fill it; `rest` are the values of the others.
pub(crate) fn table(columns: &str, rest: &str) -> String {
    let known =
        ["alice", "bob", "carol", "dave", "nobody", "alice-in-wonderland", "late", "dora", "admin", "Alice", "Bob"];
    // Users that differ by a byte, as in the suite.
    let alike = ["bob ", " bob", "bo%", "b\u{f3}b", "bo\u{301}b", "b_b", "\u{ff22}\u{ff2f}\u{ff22}", "1", "01"];
    let numbered = (0..200).flat_map(|number| [format!("user {number}"), format!("user{number}")]);
    let timed = (-9..200).flat_map(|number| ["idle", "absolute", "late"].map(|name| format!("{name} {number}")));
    let all = known.iter().chain(&alike).map(ToString::to_string).chain(numbered).chain(timed);
    let all = all.chain(["x".repeat(128)]);
    let rows: Vec<_> = all.map(|name| format!("('{name}', {rest})")).collect();
    format!("CREATE TABLE users ({columns});\nINSERT INTO users VALUES {};\n", rows.join(", "))
}
