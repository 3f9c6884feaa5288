//! Local attention at the sizes of ACmix's stages.

mod harness;

use harness::report;
use pyhybrid_kernels::local_attention::{Config, Dims, Gradients, Inputs, backward, forward};

const GMACS: (&str, f64) = ("GMAC/s", 1e9);
const HEADS: usize = 4;

fn numbers(n: usize, seed: usize) -> Vec<f32> {
    (0..n).map(|i| (((i + seed) * 2_654_435_761) % 1009) as f32 / 504.5 - 1.0).collect()
}

fn attention(batch: usize, channels: usize, size: usize, kernel_size: usize, stride: usize) {
    let (shape, pe) = ([batch, channels, size, size], [channels / HEADS, size, size]);
    let config = Config { heads: HEADS, kernel_size, stride: (stride, stride), border: "reflect", scale: None };
    let d = Dims::new(&shape, &shape, &shape, Some(&pe), config).expect("sizes fit");
    let (len, pe_len) = (shape.iter().product(), pe.iter().product());
    let (q, k, v, pe) = (numbers(len, 1), numbers(len, 2), numbers(len, 3), numbers(pe_len, 4));
    let inputs = Inputs { q: &q, k: &k, v: &v, pe: Some(&pe) };
    let (mut o, mut lse) = (vec![0.0; d.o_shape().iter().product()], vec![0.0; d.lse_shape().iter().product()]);
    let macs = (2 * o.len() * kernel_size * kernel_size) as f64;
    let name = format!("{batch}x{channels}@{size} k{kernel_size} s{stride}");
    report(&format!("{name} forward"), macs, GMACS, |exec| forward(inputs, &mut o, &mut lse, &d, exec).expect("runs"));
    let dy = numbers(o.len(), 5);
    let [mut dq, mut dk, mut dv] = [len; 3].map(|n| vec![0.0; n]);
    let mut dpe = vec![0.0; pe_len];
    report(&format!("{name} backward"), 2.5 * macs, GMACS, |exec| {
        let grads = Gradients { q: &mut dq, k: &mut dk, v: &mut dv, pe: Some(&mut dpe) };
        backward(&dy, inputs, &lse, grads, &d, exec).expect("runs")
    });
}

fn main() {
    let wanted = std::env::args().nth(1).filter(|name| !name.starts_with('-')).unwrap_or_default();
    for (batch, channels, size, window, stride) in [
        (8, 64, 56, 7, 1),
        (8, 128, 28, 7, 1),
        (8, 256, 14, 7, 1),
        (8, 512, 7, 7, 1),
        (8, 128, 56, 7, 2),
        (8, 64, 56, 3, 1),
        (1, 64, 56, 7, 1),
        (1, 128, 28, 7, 1),
        (1, 256, 14, 7, 1),
        (1, 512, 7, 7, 1),
    ] {
        if format!("{batch}x{channels}@{size} k{window}").contains(&wanted) {
            attention(batch, channels, size, window, stride);
        }
    }
}
