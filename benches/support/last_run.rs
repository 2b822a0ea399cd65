//! A contender beside itself, in the last run.

use std::time::Duration;

use criterion::Criterion;

use crate::support::Contest;

/// Criterion compares a contender with itself, in the last run and in this. It can't take contenders in turns, which is
/// what a ratio needs on a machine that others use too: a contest does, and is told first.
pub(crate) fn compare_with_last_run(group: impl ToString, contest: &mut Contest<'_>) {
    let mut criterion = Criterion::default().without_plots().configure_from_args();
    let mut group = criterion.benchmark_group(group.to_string());
    group
        .warm_up_time(Duration::from_millis(100))
        .measurement_time(Duration::from_millis(800))
        .sample_size(20);
    for (name, turn) in &mut contest.contenders {
        group.bench_function(*name, |bencher| bencher.iter_custom(&mut *turn));
    }
    group.finish();
}
