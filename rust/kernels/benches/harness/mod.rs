//! What the benches share: median time of a call on one thread and on all, as a rate.
//! `cargo bench -p pyhybrid-kernels --bench NAME`; PYHYBRID_SIMD picks the level.

use std::hint::black_box;
use std::time::{Duration, Instant};

use pyhybrid_kernels::exec::Exec;
use pyhybrid_kernels::lanes::Level;

#[allow(dead_code)] // not every bench counts bytes
pub const GB: (&str, f64) = ("GB/s", 1e9);

/// Prints the median time of `call`, its fastest, and `amount` / median in the given unit.
pub fn report(name: &str, amount: f64, (unit, scale): (&str, f64), mut call: impl FnMut(&Exec)) {
    let level = std::env::var("PYHYBRID_SIMD").map_or(Ok(Level::best()), |name| Level::from_name(&name));
    let level = level.unwrap_or_else(|error| panic!("{error}"));
    for threads in [1, std::thread::available_parallelism().map_or(1, |n| n.get())] {
        let exec = Exec::new(threads, level, &|| false);
        let (fastest, median) = times(|| call(black_box(&exec)));
        let rate = amount / median / scale;
        let (fastest, median) = (fastest * 1e3, median * 1e3);
        println!("{name:40} {level:?} {threads} threads {median:10.4} ms (fastest {fastest:8.4}) {rate:8.2} {unit}");
    }
}

/// Fastest and median of at least 15 calls and 300 ms, after a warm-up.
fn times(mut call: impl FnMut()) -> (f64, f64) {
    call();
    let (start, mut times) = (Instant::now(), Vec::new());
    while times.len() < 15 || start.elapsed() < Duration::from_millis(300) {
        let before = Instant::now();
        call();
        times.push(before.elapsed().as_secs_f64());
    }
    times.sort_by(f64::total_cmp);
    (times[0], times[times.len() / 2])
}
