//! ACmix's block and its parts that shift and sum, forward and backward.

mod harness;

use harness::{GB, report};
use pyhybrid_kernels::real::Real;
use pyhybrid_kernels::{acmix, conv_decomposition, conv_path, local_attention, pointwise_conv, shift_conv, shift_sum};

const GFLOPS: (&str, f64) = ("GFLOP/s", 1e9);

fn numbers<T: Real>(n: usize) -> Vec<T> {
    (0..n).map(|k| T::from_f64((k * 37 % 97) as f64 * 0.01 - 0.48)).collect()
}

fn shift_sums(name: &str, maps: [usize; 5], stride: usize) {
    let d = shift_sum::Dims::new(&maps, (3, 3), (stride, stride)).unwrap();
    let (x, n) = (numbers::<f32>(maps.iter().product()), d.output().iter().product::<usize>());
    let (mut y, mut dx, bytes) = (vec![0f32; n], x.clone(), 4.0 * (x.len() + n) as f64);
    report(&format!("shift_sum forward {name}"), bytes, GB, |exec| shift_sum::forward(&x, &mut y, &d, exec).unwrap());
    report(&format!("shift_sum backward {name}"), bytes, GB, |exec| {
        shift_sum::backward(&y, &mut dx, &d, exec).unwrap()
    });
}

fn shift_convs<T: Real>(name: &str, [n, d, r, k, size]: [usize; 5], stride: usize) {
    let (maps, weight) = ([n, d, k * k, size, size], [d * r, k * k, k, k]);
    let dims = shift_conv::Dims::new(&maps, Some(&weight), None, k, (stride, stride)).unwrap();
    let (x, w) = (numbers::<T>(maps.iter().product()), numbers::<T>(weight.iter().product()));
    let mut y = numbers::<T>(dims.output().iter().product());
    let (mut dx, mut dw) = (x.clone(), w.clone());
    let flops = 2.0 * (y.len() * k * k * k * k) as f64;
    report(&format!("shift_conv forward {name}"), flops, GFLOPS, |exec| {
        shift_conv::forward(&x, Some(&w), None, &mut y, &dims, exec).unwrap();
    });
    report(&format!("shift_conv backward {name}"), 2.0 * flops, GFLOPS, |exec| {
        shift_conv::backward(&y, &x, Some(&w), &mut dx, Some(&mut dw), None, &dims, exec).unwrap();
    });
}

fn conv_paths<T: Real>(name: &str, [n, c, heads, k, size]: [usize; 5], stride: usize) {
    let (q, fc, dep) = ([n, c, size, size], [k * k, 3 * heads, 1, 1], [c, k * k, k, k]);
    let shapes = conv_path::Arguments {
        q: &q[..],
        k: &q,
        v: &q,
        fc_weight: &fc,
        dep_conv_weight: &dep,
        fc_bias: None,
        dep_conv_bias: None,
    };
    let d = conv_path::Dims::new(&shapes, heads, (stride, stride), conv_path::ChannelOrder::Official).unwrap();
    let (x, f, w) =
        (numbers::<T>(q.iter().product()), numbers::<T>(fc.iter().product()), numbers::<T>(dep.iter().product()));
    let mut y = numbers::<T>(d.output().iter().product());
    let arguments = conv_path::Arguments {
        q: &x[..],
        k: &x,
        v: &x,
        fc_weight: &f,
        dep_conv_weight: &w,
        fc_bias: None,
        dep_conv_bias: None,
    };
    let (mix, conv) = (2.0 * (3 * k * k * x.len()) as f64, 2.0 * (y.len() * k * k * k * k) as f64);
    report(&format!("conv_path forward {name}"), mix + conv, GFLOPS, |exec| {
        conv_path::forward(&arguments, &mut y, &d, exec).unwrap();
    });
    let (mut dq, mut dk, mut dv, mut df, mut dw) = (x.clone(), x.clone(), x.clone(), f.clone(), w.clone());
    report(&format!("conv_path backward {name}"), 3.0 * mix + 2.0 * conv, GFLOPS, |exec| {
        let gradients = conv_path::Arguments {
            q: &mut dq[..],
            k: &mut dk,
            v: &mut dv,
            fc_weight: &mut df,
            dep_conv_weight: &mut dw,
            fc_bias: None,
            dep_conv_bias: None,
        };
        conv_path::backward(&y, &arguments, gradients, &d, exec).unwrap();
    });
}

fn decomposition(name: &str, [n, c, o, k, size]: [usize; 5]) {
    let (x, w) = ([n, c, size, size], [o, c, k, k]);
    let d = conv_decomposition::Dims::new(&x, &w, None, (1, 1)).unwrap();
    let (x, w) = (numbers::<f32>(x.iter().product()), numbers::<f32>(w.iter().product()));
    let mut y = numbers::<f32>(d.output().iter().product());
    let (mut dx, mut dw) = (x.clone(), w.clone());
    let flops = 2.0 * (y.len() * c * k * k) as f64;
    report(&format!("conv_decomposition forward {name}"), flops, GFLOPS, |exec| {
        conv_decomposition::forward(&x, &w, None, &mut y, &d, exec).unwrap();
    });
    report(&format!("conv_decomposition backward {name}"), 2.0 * flops, GFLOPS, |exec| {
        conv_decomposition::backward(&y, &x, &w, &mut dx, &mut dw, None, &d, exec).unwrap();
    });
}

/// The official block, and those of its parts that other files own, at the same sizes.
fn block<T: Real>(name: &str, [n, c, size]: [usize; 3]) {
    let (heads, q) = (4, [n, c, size, size]);
    let (x, one, w, b, fc, dep, p, pb) =
        (q, [1], [c, c, 1, 1], [c], [9, 12, 1, 1], [c, 9, 3, 3], [c / 4, 2, 1, 1], [c / 4]);
    let required: [&[usize]; 11] = [&x, &one, &one, &w, &b, &w, &b, &w, &b, &fc, &dep];
    let optional: [Option<&[usize]>; 4] = [Some(&p), Some(&pb), None, None];
    let config = acmix::Config { heads, kernel_size: 7, stride: (1, 1), border: "reflect", channel_order: "official" };
    let d = acmix::Dims::new(&acmix::Arguments::new(required, optional), config).unwrap();
    let len = |shape: &[usize]| shape.iter().product::<usize>();
    let required = required.map(|shape| numbers::<T>(len(shape)));
    let optional = optional.map(|shape| shape.map(|shape| numbers::<T>(len(shape))));
    let arguments =
        acmix::Arguments::new(required.each_ref().map(|x| &x[..]), optional.each_ref().map(|x| x.as_deref()));
    let (mut y, mut att, mut conv) = (numbers::<T>(len(&q)), numbers::<T>(len(&q)), numbers::<T>(len(&q)));
    let (mut qs, mut ks, mut vs) = (y.clone(), y.clone(), y.clone());
    let (mut lse, mut pe) = (numbers::<T>(len(&d.lse())), numbers::<T>(len(&d.pe())));
    let ms = ("calls/s", 1.0);
    report(&format!("acmix forward {name}"), 1.0, ms, |exec| {
        let saved = acmix::Saved {
            q: &mut qs[..],
            k: &mut ks,
            v: &mut vs,
            pe: Some(&mut pe),
            lse: &mut lse,
            att: &mut att,
            conv: &mut conv,
        };
        acmix::forward(&arguments, &mut y, saved, &d, exec).unwrap();
    });
    let (mut drequired, mut doptional) = (required.clone(), optional.clone());
    report(&format!("acmix backward {name}"), 1.0, ms, |exec| {
        let saved = acmix::Saved { q: &qs[..], k: &ks, v: &vs, pe: Some(&pe), lse: &lse, att: &att, conv: &conv };
        let gradients = acmix::Arguments::new(
            drequired.each_mut().map(|x| &mut x[..]),
            doptional.each_mut().map(|x| x.as_deref_mut()),
        );
        acmix::backward(&y, &arguments, &saved, gradients, &d, exec).unwrap();
    });
    let projection = pointwise_conv::Dims::new(&q, &w, Some(&b)).unwrap();
    report(&format!("  pointwise_conv forward {name}"), 2.0 * (c * len(&q)) as f64, GFLOPS, |exec| {
        pointwise_conv::forward(&required[0], &required[3], Some(&required[4]), &mut qs, &projection, exec).unwrap();
    });
    let attention = local_attention::Config { heads, kernel_size: 7, stride: (1, 1), border: "reflect", scale: None };
    let attention = local_attention::Dims::new(&q, &q, &q, Some(&d.pe()), attention).unwrap();
    report(&format!("  local_attention forward {name}"), 4.0 * (49 * len(&q)) as f64, GFLOPS, |exec| {
        let inputs = local_attention::Inputs { q: &qs, k: &ks, v: &vs, pe: Some(&pe) };
        local_attention::forward(inputs, &mut att, &mut lse, &attention, exec).unwrap();
    });
}

fn main() {
    shift_sums("9 x 8x64x56x56", [8, 9, 64, 56, 56], 1);
    shift_sums("9 x 8x64x56x56 stride 2", [8, 9, 64, 56, 56], 2);
    shift_convs::<f32>("f32 64@56 b8, 4 heads", [8, 16, 4, 3, 56], 1);
    shift_convs::<f64>("f64 64@56 b8, 4 heads", [8, 16, 4, 3, 56], 1);
    conv_paths::<f32>("f32 64@56 b8, 4 heads", [8, 64, 4, 3, 56], 1);
    conv_paths::<f32>("f32 64@56 b8, stride 2", [8, 64, 4, 3, 56], 2);
    conv_paths::<f32>("f32 128@28 b8", [8, 128, 4, 3, 28], 1);
    conv_paths::<f32>("f32 256@14 b8", [8, 256, 4, 3, 14], 1);
    conv_paths::<f32>("f32 512@7 b8", [8, 512, 4, 3, 7], 1);
    decomposition("64@56 b8", [8, 64, 64, 3, 56]);
    block::<f32>("f32 64@56 b8", [8, 64, 56]);
    block::<f32>("f32 128@28 b8", [8, 128, 28]);
    block::<f32>("f32 256@14 b8", [8, 256, 14]);
    block::<f32>("f32 512@7 b8", [8, 512, 7]);
}
