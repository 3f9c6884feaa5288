//! Deformable convolution at the sizes of the papers' stages: 3x3, version 2, offsets of about a pixel.

mod harness;

use harness::report;
use pyhybrid_kernels::deform_conv2d::{Arguments, Dims, Settings, backward, forward};

const BATCH: usize = 8;

/// Roughly normal numbers.
fn numbers(n: usize) -> Vec<f32> {
    let mut state = 1_u32;
    let mut uniform = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 24) as f32 - 0.5
    };
    (0..n).map(|_| 2.0 * (uniform() + uniform() + uniform())).collect()
}

fn main() {
    let wanted = std::env::args().nth(1).filter(|name| !name.starts_with('-')).unwrap_or_default();
    for (c, side) in [(64, 56), (128, 28), (256, 14), (512, 7)] {
        let name = format!("{c}@{side}");
        if !name.contains(&wanted) {
            continue;
        }
        let (x, offset, weight) = ([BATCH, c, side, side], [BATCH, 18, side, side], [c, c, 3, 3]);
        let mask = [BATCH, 9, side, side];
        let shapes = Arguments { x: &x[..], offset: &offset, weight: &weight, mask: Some(&mask[..]), bias: None };
        let (stride, padding, dilation) = ((1, 1), (1, 1), (1, 1));
        let settings = Settings { stride, padding, dilation, groups: 1, offset_groups: 1, kink: "right" };
        let d = Dims::new(&shapes, &settings).expect("sizes fit");
        let [x, offset, weight, mask] = [x, offset, weight, mask].map(|shape| numbers(shape.iter().product()));
        let arrays = Arguments { x: &x[..], offset: &offset, weight: &weight, mask: Some(&mask[..]), bias: None };
        let (dy, mut y) = (numbers(x.len()), vec![0.0; x.len()]);
        let work = 2.0 * (y.len() * c * 9) as f64;
        report(&format!("{name} forward"), work, ("GFLOP/s", 1e9), |exec| {
            forward(&arrays, &mut y, &d, exec).expect("runs");
        });
        let [mut dx, mut doffset, mut dweight, mut dmask] =
            [&x, &offset, &weight, &mask].map(|from| vec![0.0; from.len()]);
        report(&format!("{name} backward"), 2.0 * work, ("GFLOP/s", 1e9), |exec| {
            let gradients = Arguments {
                x: &mut dx[..],
                offset: &mut doffset[..],
                weight: &mut dweight[..],
                mask: Some(&mut dmask[..]),
                bias: None,
            };
            backward(&dy, &arrays, gradients, &d, exec).expect("runs");
        });
    }
}
