//! Many calls at once.

use std::sync::Arc;

use tokio::sync::Barrier;

/// Runs `count` tasks that all begin at the same moment, and returns their answers in order.
///
/// # Panics
/// When one of them does.
pub async fn at_once<T, F, Fut>(count: usize, task: F) -> Vec<T>
where
    F: Fn(usize) -> Fut,
    Fut: Future<Output = T> + Send + 'static,
    T: Send + 'static,
{
    let barrier = Arc::new(Barrier::new(count));
    let tasks: Vec<_> = (0..count)
        .map(|number| {
            let (barrier, task) = (Arc::clone(&barrier), task(number));
            tokio::spawn(async move {
                barrier.wait().await;
                task.await
            })
        })
        .collect();
    let mut answers = Vec::with_capacity(count);
    for task in tasks {
        answers.push(task.await.expect("a concurrent task"));
    }
    answers
}
