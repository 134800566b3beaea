//! Cases drawn at random, run one after another as futures, and the smallest that fails.

use std::any::Any;
use std::panic::AssertUnwindSafe;

use futures_util::FutureExt as _;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

/// How many cases there are, from which seed they are drawn, and how often a failing one is made smaller.
#[derive(Clone, Debug)]
pub(super) struct Drawn {
    pub(super) cases: u32,
    pub(super) seed: Option<String>,
    pub(super) shrinks: u32,
}

impl Drawn {
    /// What the first case says that fails, made as small as it gets, and that case. A panic is a failure.
    pub(super) async fn first_failure<S, R>(&self, strategy: &S, mut run: R) -> Result<(), (String, S::Value)>
    where
        S: Strategy,
        S::Value: Clone,
        R: AsyncFnMut(S::Value) -> Result<(), String>,
    {
        let mut fails = async |value: S::Value| match AssertUnwindSafe(run(value)).catch_unwind().await {
            Ok(result) => result.err(),
            Err(panic) => Some(said(&*panic)),
        };
        let mut runner = self.runner();
        for _ in 0..self.cases {
            // As proptest's own runner does: how much one case draws moves no other.
            runner = TestRunner::new_with_rng(runner.config().clone(), runner.new_rng());
            let mut tree = strategy.new_tree(&mut runner).expect("no case could be drawn");
            let drawn = tree.current();
            let Some(message) = fails(drawn.clone()).await else { continue };
            let mut smallest = (message, drawn);
            let mut goes_on = self.shrinks > 0 && tree.simplify();
            for _ in 0..self.shrinks {
                if !goes_on {
                    break;
                }
                let smaller = tree.current();
                goes_on = if let Some(message) = fails(smaller.clone()).await {
                    smallest = (message, smaller);
                    tree.simplify()
                } else {
                    tree.complicate()
                };
            }
            return Err(smallest);
        }
        Ok(())
    }

    fn runner(&self) -> TestRunner {
        // The case in the failure is what reproduces it; a file beside somebody's manifest would not.
        let config = Config { failure_persistence: None, ..Config::default() };
        match &self.seed {
            None => TestRunner::new(config),
            Some(seed) => {
                let mut bytes = [0; 32];
                bytes.iter_mut().zip(seed.bytes()).for_each(|(to, from)| *to = from);
                TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes))
            }
        }
    }
}

/// The message of a panic.
pub(super) fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    let text = text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
    text.unwrap_or_else(|| "a panic without a message".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::num::u8;

    fn drawn(cases: u32) -> Drawn {
        Drawn { cases, seed: Some("a seed".to_owned()), shrinks: 2_000 }
    }

    async fn failure(drawn: Drawn, of: fn(&[u8]) -> Result<(), String>) -> Result<(), (String, Vec<u8>)> {
        drawn.first_failure(&vec(u8::ANY, 0..20), async |bytes: Vec<u8>| of(&bytes)).await
    }

    #[tokio::test]
    async fn the_smallest_case_is_found() {
        let large = |bytes: &[u8]| if bytes.iter().any(|byte| *byte >= 100) { Err("large".to_owned()) } else { Ok(()) };
        assert_eq!(failure(drawn(64), large).await, Err(("large".to_owned(), vec![100])));
        assert_eq!(failure(drawn(0), large).await, Ok(()), "nothing is drawn unless it is asked for");
    }

    #[tokio::test]
    async fn a_panic_is_a_failure() {
        let panics = |bytes: &[u8]| if bytes.len() > 2 { panic!("of {} bytes", bytes.len()) } else { Ok(()) };
        assert_eq!(failure(drawn(64), panics).await, Err(("of 3 bytes".to_owned(), vec![0, 0, 0])));
    }
}
