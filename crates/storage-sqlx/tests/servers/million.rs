//! Ending everybody's sessions, or all of one user's, costs the same among a million sessions as among a thousand.

use std::time::Duration;

use session_manager_core::storage::{Bump, BumpOutcome, BumpTarget, Consistency};
use session_manager_core::{LivePolicy, SessionId, SessionKey, SessionStorage, State};
use session_manager_services::{Service, url};
use sqlx::{Postgres, Row, Transaction};
use uuid::Uuid;

use crate::server::{Fixture, INCARNATIONS, Server, at, user};

/// Rows that a transaction read and wrote, in all tables and by whatever index.
const WORK: &str = "SELECT coalesce(sum(seq_tup_read + coalesce(idx_tup_fetch, 0)), 0)::bigint,
    coalesce(sum(n_tup_ins + n_tup_upd + n_tup_del), 0)::bigint FROM pg_stat_xact_user_tables";

/// Copies the rows of the first session: one half for its user, of the other each for a user of its own.
const MULTIPLY: &str = "DO $$ DECLARE columns text; half bigint := $half; BEGIN
    SELECT string_agg(column_name, ', ') INTO columns FROM information_schema.columns
        WHERE table_schema = current_schema AND table_name = 'sessions' AND column_name NOT IN ('id', 'user_id');
    EXECUTE format('INSERT INTO sessions (id, user_id, %1$s) SELECT gen_random_uuid(),
        CASE WHEN n > $1 THEN ''crowd'' ELSE ''one-'' || n END, %1$s FROM sessions, generate_series(1, 2 * $1 - 1) n', columns) USING half;
    SELECT string_agg(column_name, ', ') INTO columns FROM information_schema.columns
        WHERE table_schema = current_schema AND table_name = 'session_epochs' AND column_name <> 'subject';
    EXECUTE format('INSERT INTO session_epochs (subject, %1$s) SELECT ''one-'' || n, %1$s
        FROM session_epochs, generate_series(1, $1) n WHERE subject = ''crowd''', columns) USING half;
END $$";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ending_everybody_costs_the_same_at_a_million_sessions() {
    if url(Service::Postgres).is_none() {
        return;
    }
    let few = ending_everybody_among(1_000).await;
    let many = ending_everybody_among(1_000_000).await;
    assert_eq!(few, many, "rows read and written: for a user of half of all sessions, and for everybody");
    for (read, written) in few {
        assert!(read <= 8 && written == 1, "{few:?}");
    }
}

/// Ends all sessions of one user, who has half of all, and then everybody's.
async fn ending_everybody_among(sessions: i64) -> [(i64, i64); 2] {
    let fixture = Fixture::<Postgres>::new().await;
    // Everybody's epoch is there, as on any day but the first.
    let everybody = BumpTarget::Global { grace: Duration::ZERO };
    fixture.storage.bump(&Bump::new(everybody.clone(), INCARNATIONS, at(0))).await.unwrap();
    let first = fixture.sign_in("crowd", 1).await;
    Postgres::run(&fixture.pool, &MULTIPLY.replace("$half", &(sessions / 2).to_string())).await;
    Postgres::run(&fixture.pool, "ANALYZE sessions, session_epochs").await;
    let count = "SELECT count(*) FROM sessions WHERE user_id = 'crowd' OR user_id LIKE 'one-%'";
    assert_eq!(Postgres::number(&fixture.pool, count).await, sessions);
    let one = sqlx::query("SELECT id FROM sessions WHERE user_id = 'one-500'").fetch_one(&fixture.pool).await.unwrap();
    let alone = SessionKey::by_id(SessionId::from(one.get::<Uuid, _>(0)));
    let state = async |key: &SessionKey| {
        let snapshot = fixture.storage.read(key, Consistency::Latest).await.unwrap().unwrap();
        snapshot.state(at(2), LivePolicy::TRACKED)
    };
    assert_eq!((state(&first.key()).await, state(&alone).await), (State::Live, State::Live));

    let crowd = BumpTarget::User { user: user("crowd"), keep: None };
    let of_user = bump(&fixture, crowd).await;
    assert_ne!(state(&first.key()).await, State::Live);
    assert_eq!(state(&alone).await, State::Live);
    let of_all = bump(&fixture, everybody).await;
    assert_ne!(state(&alone).await, State::Live);
    [of_user, of_all]
}

/// Raises an epoch, and says how many rows that read and wrote.
async fn bump(fixture: &Fixture<Postgres>, target: BumpTarget) -> (i64, i64) {
    let mut transaction = fixture.pool.begin().await.unwrap();
    let before = work(&mut transaction).await;
    {
        let inside = fixture.storage.in_transaction(&mut transaction);
        let outcome = inside.bump(&Bump::new(target, INCARNATIONS, at(2))).await.unwrap();
        assert!(matches!(outcome, BumpOutcome::Bumped(_)), "{outcome:?}");
    }
    let after = work(&mut transaction).await;
    transaction.commit().await.unwrap();
    (after.0 - before.0, after.1 - before.1)
}

async fn work(transaction: &mut Transaction<'_, Postgres>) -> (i64, i64) {
    let row = sqlx::query(WORK).fetch_one(&mut **transaction).await.unwrap();
    (row.get(0), row.get(1))
}
