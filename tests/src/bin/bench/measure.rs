//! Two sides in turn, A B A B, within one run: the machine's mood of the minute is in both.

use std::{
    error::Error,
    fmt::Write as _,
    future::Future,
    sync::Arc,
    time::{Duration, Instant},
};

use rustix::time::{ClockId, clock_gettime};

/// A step that fails ends the program: a figure with failures in it says nothing.
pub(crate) type Outcome<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

/// How long and how much at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    /// Steps under way at any moment.
    pub(crate) in_flight: usize,
    /// Steps between two looks at the clock; more than a few only where a look costs as much as a step.
    batch: u64,
    /// How long one side runs before it is the other's turn.
    pub(crate) slice: Duration,
    rounds: u64,
    /// Sessions in a storage while its operations are compared, and as many again that were signed in through the manager.
    pub(crate) sessions: usize,
}

impl Plan {
    /// About three seconds a pair.
    pub(crate) const fn full() -> Self {
        Self { in_flight: 1, batch: 1, slice: Duration::from_millis(300), rounds: 5, sessions: 1000 }
    }

    /// As little as shows that it runs.
    pub(crate) const fn quick() -> Self {
        Self { in_flight: 1, batch: 1, slice: Duration::from_millis(25), rounds: 2, sessions: 320 }
    }

    pub(crate) const fn in_flight(mut self, in_flight: usize) -> Self {
        self.in_flight = in_flight;
        self
    }

    /// For steps of less than a microsecond.
    pub(crate) const fn batched(mut self) -> Self {
        self.batch = 64;
        self
    }

    /// For sides whose slice ends early, because what they use up has been used up.
    pub(crate) const fn rounds(mut self, factor: u64) -> Self {
        self.rounds *= factor;
        self
    }
}

/// Which step this is: what is picked at random is picked by it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Turn {
    /// From 0 to [`Plan::in_flight`]. One worker never has two steps at once.
    pub(crate) worker: usize,
    /// Never the same twice for one worker of one side.
    pub(crate) number: u64,
}

impl Turn {
    /// A number below `bound` that looks random (`SplitMix64`).
    pub(crate) fn pick(self, bound: usize) -> usize {
        let seed = self.number ^ (self.worker as u64).rotate_left(48);
        usize::try_from(scatter(seed) % (bound.max(1) as u64)).unwrap_or_default()
    }
}

/// `SplitMix64`'s output function.
pub(crate) const fn scatter(seed: u64) -> u64 {
    let z = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// One side of a comparison.
pub(crate) trait Side: Send + Sync + 'static {
    /// What has to be there before a slice; it is not measured.
    fn prepare(&self, plan: Plan) -> impl Future<Output = Outcome> + Send;

    /// One operation. `false`: nothing is left to do it on.
    fn step(&self, turn: Turn) -> impl Future<Output = Outcome<bool>> + Send;
}

/// What a slice showed.
#[derive(Clone, Copy)]
struct Slice {
    /// Operations a second.
    rate: f64,
    /// Microseconds of this process, user and system, an operation.
    cpu: f64,
}

async fn slice<S: Side>(side: &Arc<S>, plan: Plan, round: u64) -> Outcome<Slice> {
    side.prepare(plan).await?;
    let (cpu, begun) = (cpu_time(), Instant::now());
    let end = begun + plan.slice;
    let workers: Vec<_> = (0..plan.in_flight)
        .map(|worker| tokio::spawn(work(Arc::clone(side), worker, round, plan.batch, end)))
        .collect();
    let mut done = 0;
    for worker in workers {
        done += worker.await??;
    }
    let (wall, cpu) = (begun.elapsed(), cpu_time().saturating_sub(cpu));
    let done = done.max(1) as f64;
    Ok(Slice { rate: done / wall.as_secs_f64(), cpu: cpu.as_secs_f64() * 1e6 / done })
}

async fn work<S: Side>(side: Arc<S>, worker: usize, round: u64, batch: u64, end: Instant) -> Outcome<u64> {
    let first = round << 32;
    let mut number = first;
    loop {
        for _ in 0..batch {
            if !side.step(Turn { worker, number }).await? {
                return Ok(number - first);
            }
            number += 1;
        }
        if Instant::now() >= end {
            return Ok(number - first);
        }
    }
}

/// Compares two sides and prints a row: both rates, A's rate by B's, and what each costs this process.
pub(crate) async fn pair<A: Side, B: Side>(words: &[&str], plan: Plan, a: A, b: B) -> Outcome {
    let (a, b) = (Arc::new(a), Arc::new(b));
    // Connections, caches and prepared statements: not part of what is asked.
    let warm = Plan { slice: plan.slice / 3, ..plan };
    slice(&a, warm, 0).await?;
    slice(&b, warm, 0).await?;
    let (mut of_a, mut of_b) = (Vec::new(), Vec::new());
    for round in 1..=plan.rounds {
        of_a.push(slice(&a, plan, round).await?);
        of_b.push(slice(&b, plan, round).await?);
    }
    let rate = |slices: &[Slice]| Spread::of(slices.iter().map(|slice| slice.rate)).median;
    let cpu = |slices: &[Slice]| Spread::of(slices.iter().map(|slice| slice.cpu)).median;
    let ratio = Spread::of(of_a.iter().zip(&of_b).map(|(a, b)| a.rate / b.rate));
    let mut row = words.iter().fold(String::from("|"), |row, word| row + " " + word + " |");
    // Writing to a string cannot fail.
    let _ = write!(
        row,
        " {:.0} | {:.0} | **{}** ({}–{}) | {:.1} | {:.1} |",
        rate(&of_a),
        rate(&of_b),
        digits(ratio.median),
        digits(ratio.least),
        digits(ratio.most),
        cpu(&of_a),
        cpu(&of_b)
    );
    println!("{row}");
    Ok(())
}

/// Two digits behind the point, and two that count where that would be none.
fn digits(ratio: f64) -> String {
    if ratio < 0.01 { format!("{ratio:.4}") } else { format!("{ratio:.2}") }
}

/// The head of a table whose rows [`pair`] prints.
pub(crate) fn head<const N: usize>(title: &str, columns: [&str; N], ratio: &str) {
    println!("\n### {title}\n");
    println!("| {} | {ratio}, median (range) | CPU µs | CPU µs |", columns.join(" | "));
    println!("|{}", "---|".repeat(N + 3));
}

/// What several measurements have in common.
struct Spread {
    median: f64,
    least: f64,
    most: f64,
}

impl Spread {
    fn of(values: impl Iterator<Item = f64>) -> Self {
        let mut values: Vec<_> = values.collect();
        values.sort_by(f64::total_cmp);
        let at = |index: usize| values.get(index).copied().unwrap_or(f64::NAN);
        let last = values.len().saturating_sub(1);
        // Of an even number the two in the middle.
        let median = f64::midpoint(at(last / 2), at(values.len() / 2));
        Self { median, least: at(0), most: at(last) }
    }
}

/// User and system time of this process, all threads.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    let nanos = u32::try_from(time.tv_nsec).unwrap_or_default();
    Duration::new(u64::try_from(time.tv_sec).unwrap_or_default(), nanos)
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, reason = "a wrong index is a failed test")]
mod tests {
    use super::*;

    #[test]
    fn a_spread_is_the_middle_and_both_ends() {
        for (values, expected) in [(&[3.0, 1.0, 2.0][..], [2.0, 1.0, 3.0]), (&[4.0, 1.0, 2.0, 3.0], [2.5, 1.0, 4.0])] {
            let spread = Spread::of(values.iter().copied());
            for (found, expected) in [spread.median, spread.least, spread.most].into_iter().zip(expected) {
                assert!((found - expected).abs() < 1e-9, "{found} for {expected} of {values:?}");
            }
        }
    }

    #[test]
    fn picks_are_within_their_bound_and_spread_over_it() {
        let mut hits = [0; 10];
        for number in 0..1000 {
            hits[Turn { worker: 3, number }.pick(10)] += 1;
        }
        assert!(hits.iter().all(|hits| *hits > 50), "{hits:?}");
    }
}
