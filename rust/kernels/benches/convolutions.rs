//! Matrix products and convolutions of the sizes of the papers' stages, against the processor's multiply-add rate.

mod harness;

use harness::report;
use pyhybrid_kernels::conv2d;
use pyhybrid_kernels::exec::Exec;
use pyhybrid_kernels::lanes::Level;
use pyhybrid_kernels::limits::fma_rate;

const GFLOPS: (&str, f64) = ("GFLOP/s", 1e9);
const BATCH: usize = 8;

fn numbers(n: usize) -> Vec<f32> {
    (0..n).map(|i| ((i * 2_654_435_761) % 1009) as f32 / 504.5 - 1.0).collect()
}

fn convolution(name: &str, x: [usize; 4], weight: [usize; 4], padding: usize, groups: usize) {
    let d = conv2d::Dims::new(&x, &weight, None, (1, 1), (padding, padding), (1, 1), groups).expect("sizes fit");
    let (len, out_len) = (x.iter().product::<usize>(), d.output().iter().product::<usize>());
    let work = 2.0 * out_len as f64 * weight[1..].iter().product::<usize>() as f64;
    let (x, w, dy, mut y) = (numbers(len), numbers(weight.iter().product()), numbers(out_len), vec![0.0; out_len]);
    report(&format!("{name} forward"), work, GFLOPS, |exec| {
        conv2d::forward(&x, &w, None, &mut y, &d, exec).expect("runs")
    });
    let (mut dx, mut dw) = (vec![0.0; len], vec![0.0; w.len()]);
    report(&format!("{name} input gradient"), work, GFLOPS, |exec| {
        conv2d::input_gradient(&dy, &w, &mut dx, &d, exec).expect("runs")
    });
    report(&format!("{name} weight gradient"), work, GFLOPS, |exec| {
        conv2d::weight_gradient(&dy, &x, &mut dw, &d, exec).expect("runs")
    });
}

fn main() {
    let wanted = std::env::args().nth(1).filter(|name| !name.starts_with('-')).unwrap_or_default();
    for threads in [1, 2] {
        let exec = Exec::new(threads, Level::best(), &|| false);
        println!("multiply-add rate, {threads} threads: {:.0} GFLOP/s", fma_rate::<f32>(&exec).expect("runs") / 1e9);
    }
    let run = |name: &str, x: [usize; 4], weight: [usize; 4], padding: usize, groups: usize| {
        if name.contains(&wanted) {
            convolution(name, x, weight, padding, groups);
        }
    };
    run("product 1024^3", [1, 1024, 1, 1024], [1024, 1024, 1, 1], 0, 1);
    for (c, side) in [(64, 56), (128, 28), (256, 14), (512, 7)] {
        run(&format!("pointwise {c}@{side}"), [BATCH, c, side, side], [c, c, 1, 1], 0, 1);
        run(&format!("dense 3x3 {c}@{side}"), [BATCH, c, side, side], [c, c, 3, 3], 1, 1);
        for k in [3, 7] {
            run(&format!("depthwise {k}x{k} {c}@{side}"), [BATCH, c, side, side], [c, 1, k, k], k / 2, c);
        }
    }
}
