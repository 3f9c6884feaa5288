use super::*;
use crate::testing::{each_exec, random, unwritten};

/// Shape of x, size of the kernel, stride, padding, training.
type Case = ([usize; 4], Pair, Pair, Pair, bool);

fn bits<T: Real>(arrays: &[&[T]]) -> Vec<Vec<u64>> {
    arrays.iter().map(|array| array.iter().map(|value| value.to_f64().to_bits()).collect()).collect()
}

/// The same bits as the three operators one after the other on all channels.
fn check<T: Real>((x_shape, kernel, stride, padding, training): Case, activation: Activation) {
    let [images, channels, height, width] = x_shape;
    let weight_shape = [channels, 1, kernel.0, kernel.1];
    let d = Dims::new(&x_shape, &weight_shape, &[], stride, padding, training, 1e-3).expect("sizes fit");
    let (len, out_len): (usize, usize) = (images * channels * height * width, d.output().iter().product());
    let (x, dy) = (random::<T>(len, 1), random::<T>(out_len, 2));
    let taps = kernel.0 * kernel.1;
    let (weight, vectors) = (random::<T>(channels * taps, 3), [4, 5, 6, 7].map(|seed| random::<T>(channels, seed)));
    let [w1, b1, w2, b2] = &vectors;
    let parameters = Parameters { norms: [[w1, b1], [w2, b2]], weight: &weight, activation };
    each_exec(|exec| {
        // Positive numbers, which evaluation takes as they are.
        let mut kept: [Vec<T>; 4] =
            [8, 9, 10, 11].map(|seed| random::<T>(channels, seed).iter().map(|&v| v * v).collect());
        let mut own = kept.clone();
        let [m1, v1, m2, v2] = &mut kept;
        let (mut a, mut h, mut expected) = (unwritten::<T>(len), unwritten::<T>(out_len), unwritten::<T>(out_len));
        batch_norm_act::forward(&x, w1, b1, &mut a, m1, v1, activation, &d.before, exec).expect("it runs");
        conv2d::forward(&a, &weight, None, &mut h, &d.conv, exec).expect("it runs");
        batch_norm_act::forward(&h, w2, b2, &mut expected, m2, v2, activation, &d.after, exec).expect("it runs");
        let mut y = unwritten::<T>(out_len);
        let [m, v, n, u] = &mut own;
        forward(&x, &parameters, &mut y, [[m, v], [n, u]], &d, exec).expect("it runs");
        assert_eq!(bits(&[&y, &own[0], &own[1], &own[2], &own[3]]), bits(&[&expected, m1, v1, m2, v2]), "{d:?}");

        let (mut da, mut dh, mut dx, mut dweight) =
            (unwritten::<T>(len), unwritten::<T>(out_len), unwritten::<T>(len), unwritten::<T>(channels * taps));
        let mut each = [(); 8].map(|()| unwritten::<T>(channels));
        let [dw1, db1, dw2, db2, dm1, dv1, dm2, dv2] = &mut each;
        let to = batch_norm::Gradients { dx: &mut dh, dweight: dw2, dbias: db2, running: running(dm2, dv2, training) };
        let saved = Saved { dy: &dy[..], x: &h[..], weight: w2, mean: m2, var: v2 };
        batch_norm_act::backward(saved, b2, to, activation, &d.after, exec).expect("it runs");
        conv2d::backward(&dh, &a, &weight, &mut da, &mut dweight, None, &d.conv, exec).expect("it runs");
        let to = batch_norm::Gradients { dx: &mut dx, dweight: dw1, dbias: db1, running: running(dm1, dv1, training) };
        let saved = Saved { dy: &da[..], x: &x[..], weight: w1, mean: m1, var: v1 };
        batch_norm_act::backward(saved, b1, to, activation, &d.before, exec).expect("it runs");

        let (mut own_dx, mut own_dweight) = (unwritten::<T>(len), unwritten::<T>(channels * taps));
        let mut found = [(); 8].map(|()| unwritten::<T>(channels));
        let [ow1, ob1, ow2, ob2, om1, ov1, om2, ov2] = &mut found;
        let to = Gradients {
            x: &mut own_dx,
            norms: [[ow1, ob1], [ow2, ob2]],
            weight: &mut own_dweight,
            running: (!training).then_some([[om1, ov1], [om2, ov2]]),
        };
        backward(&dy, &x, &parameters, [[m1, v1], [m2, v2]], to, &d, exec).expect("it runs");
        assert_eq!(bits(&[&own_dx, &own_dweight]), bits(&[&dx, &dweight]), "{d:?}");
        assert_eq!(bits(&found.each_ref().map(|v| &v[..])), bits(&each.each_ref().map(|v| &v[..])), "{d:?}");
    });
}

fn running<'a, T>(mean: &'a mut [T], var: &'a mut [T], training: bool) -> Option<(&'a mut [T], &'a mut [T])> {
    (!training).then_some((mean, var))
}

#[test]
fn the_same_bits_as_one_after_the_other() {
    let (three, one) = ((3, 3), (1, 1));
    for training in [true, false] {
        check::<f32>(([2, 5, 9, 8], three, one, one, training), Activation::Gelu);
        check::<f64>(([3, 4, 7, 7], three, one, one, training), Activation::Silu);
        check::<f32>(([1, 3, 6, 5], (5, 3), (2, 1), (2, 0), training), Activation::Relu);
        check::<f32>(([2, 3, 120, 90], three, one, one, training), Activation::Gelu); // several tasks
        check::<f32>(([3, 700, 7, 7], three, one, one, training), Activation::Gelu); // the last one with fewer channels
        check::<f32>(([3, 300, 14, 14], three, (2, 2), one, training), Activation::Silu);
        check::<f64>(([2, 3, 4, 4], one, one, (2, 1), training), Activation::Gelu); // y is larger than x
    }
    check::<f32>(([0, 3, 4, 4], three, one, one, false), Activation::Gelu);
}

#[test]
fn errors() {
    let new = |x: &[usize], weight: &[usize], eps| Dims::new(x, weight, &[], (1, 1), (1, 1), true, eps);
    assert!(new(&[2, 3, 4, 4], &[3, 1, 3, 3], 1e-5).is_ok());
    assert!(new(&[2, 3, 4], &[3, 1, 3, 3], 1e-5).is_err() && new(&[2, 0, 4, 4], &[0, 1, 3, 3], 1e-5).is_err()); // (C1)
    assert!(new(&[2, 3, 4, 4], &[3, 2, 3, 3], 1e-5).is_err() && new(&[2, 3, 4, 4], &[6, 1, 3, 3], 1e-5).is_err()); // (C2)
    assert!(new(&[2, 3, 0, 0], &[3, 1, 3, 3], 1e-5).is_err() && new(&[2, 3, 4, 4], &[3, 1, 3, 3], 0.0).is_err());
    let d = new(&[1, 1, 2, 2], &[1, 1, 3, 3], 1e-5).expect("sizes fit");
    let parameters =
        Parameters { norms: [[&[1.0][..], &[0.0]], [&[1.0], &[]]], weight: &[0.0; 9], activation: Activation::Relu };
    let (mut y, mut kept) = ([0.0; 4], [0.0; 4]);
    let [a, b, c, e] = kept.each_mut().map(std::slice::from_mut);
    each_exec(|exec| {
        let statistics = [[&mut [0.0][..], &mut [0.0]], [&mut [0.0], &mut [0.0]]];
        assert!(forward(&[0.0; 4], &parameters, &mut y, statistics, &d, exec).is_err()); // a bias is missing
    });
    assert!(forward(&[0.0; 3], &parameters, &mut y, [[a, b], [c, e]], &d, &crate::testing::serial()).is_err());
}
