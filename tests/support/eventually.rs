use std::time::Duration;

/// Waits until this is so: looks again and again, for 10 s. Of real files, programs and threads nobody is told when they are done.
pub(crate) async fn eventually(mut is_so: impl FnMut() -> bool) {
    for _ in 0..2_000 {
        if is_so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("it never came to be");
}
