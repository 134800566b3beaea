//! The limit of refreshing: by session, and only for what is new.

use super::bench::{ANN, Bench, Tokens};

async fn signed_in() -> (Bench, Tokens) {
    let bench = Bench::limited().await;
    bench.user(ANN).await;
    let tokens = bench.login(ANN).await;
    (bench, tokens)
}

#[tokio::test]
async fn all_that_refresh_at_once_get_the_one_answer_for_the_price_of_one() {
    let (bench, tokens) = signed_in().await;
    let answers = futures_util::future::join_all((0..64).map(|_| bench.refresh(&tokens.refresh))).await;
    let mut successors: Vec<_> = answers.into_iter().map(|answer| answer.expect(200).tokens().refresh).collect();
    successors.sort();
    successors.dedup();
    assert_eq!(successors.len(), 1);
    let answer = bench.refresh(&tokens.refresh).await.expect(200);
    assert_eq!((answer.header("x-ratelimit-limit"), answer.header("x-ratelimit-remaining")), (Some("10"), Some("9")));
}

#[tokio::test]
async fn the_last_generation_of_a_minute_is_repeated_too() {
    let (bench, mut tokens) = signed_in().await;
    for _ in 0..9 {
        tokens = bench.refresh(&tokens.refresh).await.expect(200).tokens();
    }
    let answers = futures_util::future::join_all((0..64).map(|_| bench.refresh(&tokens.refresh))).await;
    for answer in answers {
        answer.expect(200);
    }
    let answer = bench.refresh(&tokens.refresh).await.expect(200);
    assert_eq!(answer.header("x-ratelimit-remaining"), Some("0"));
}

#[tokio::test]
async fn the_eleventh_generation_of_a_minute_has_to_wait_and_its_token_stays_good() {
    let (bench, mut tokens) = signed_in().await;
    let other = bench.login(ANN).await;
    for left in (0..10).rev() {
        let answer = bench.refresh(&tokens.refresh).await.expect(200);
        assert_eq!(answer.header("x-ratelimit-remaining"), Some(left.to_string().as_str()));
        tokens = answer.tokens();
    }
    for _ in 0..3 {
        let answer = bench.refresh(&tokens.refresh).await.expect_problem(429, "rate-limited");
        assert_eq!(answer.json["endpoint"], "/api/v1/auth/refresh");
        assert_eq!(answer.header("retry-after"), Some("60"));
    }
    bench.refresh(&other.refresh).await.expect(200);
    bench.pass(60);
    let renewed = bench.refresh(&tokens.refresh).await.expect(200).tokens();
    assert_ne!(renewed.refresh, tokens.refresh);
}

#[tokio::test]
async fn a_replay_is_seen_though_the_session_has_nothing_left() {
    let (bench, tokens) = signed_in().await;
    let mut latest = tokens.clone();
    for _ in 0..10 {
        latest = bench.refresh(&latest.refresh).await.expect(200).tokens();
    }
    bench.refresh(&tokens.refresh).await.expect_problem(401, "reuse-detected");
    bench.refresh(&latest.refresh).await.expect_problem(401, "revoked");
}

#[tokio::test]
async fn tokens_that_prove_nothing_count_by_address() {
    let (bench, tokens) = signed_in().await;
    for _ in 0..300 {
        bench.refresh("garbage").await.expect_problem(401, "invalid-token");
    }
    bench.refresh("garbage").await.expect_problem(429, "rate-limited");
    bench.refresh(&tokens.refresh).await.expect(200);
}
