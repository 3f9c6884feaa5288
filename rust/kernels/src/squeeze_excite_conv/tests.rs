use super::*;
use crate::testing::{difference, each_exec, random, unwritten};

/// [N, C, R, O, H, W]
type Sizes = [usize; 6];

fn dims([n, c, r, o, h, w]: Sizes, biases: bool) -> Dims {
    let (b1, b2, b3) = ([r], [c], [o]);
    let excite = squeeze_excite::Dims::new(
        &[n, c, h, w],
        &[r, c],
        &[c, r],
        biases.then_some(&b1[..]),
        biases.then_some(&b2[..]),
        "silu",
    );
    Dims::new(excite.expect("sizes fit"), [n, c, h, w], &[o, c, 1, 1], biases.then_some(&b3[..])).expect("sizes fit")
}

/// What the two operators give one after the other.
fn check<T: Real>(sizes: Sizes, biases: bool, tolerance: f64) {
    let ([n, c, r, o, h, w], d) = (sizes, dims(sizes, biases));
    let (len, out_len) = (n * c * h * w, n * o * h * w);
    let (x, dy, weight) = (random::<T>(len, 1), random::<T>(out_len, 2), random::<T>(o * c, 3));
    let (v1, v2) = (random::<T>(r * c, 4), random::<T>(r * c, 5));
    let (b1, b2, b3) = (random::<T>(r, 6), random::<T>(c, 7), random::<T>(o, 8));
    let given = |bias: &Vec<T>| biases.then(|| bias.clone());
    let (b1, b2, b3) = (given(&b1), given(&b2), given(&b3));
    let network =
        Network { reduce_weight: &v1, expand_weight: &v2, reduce_bias: b1.as_deref(), expand_bias: b2.as_deref() };
    let empty = |biases: bool| {
        [len, r * c, r * c, o * c]
            .map(unwritten::<T>)
            .into_iter()
            .chain([r, c, o].map(|k| unwritten(if biases { k } else { 0 })))
            .collect::<Vec<_>>()
    };
    each_exec(|exec| {
        let (mut scaled, mut expected, mut u) = (unwritten::<T>(len), unwritten::<T>(out_len), unwritten::<T>(n * c));
        squeeze_excite::forward(&x, network, &mut scaled, &mut u, &d.excite, exec).expect("it runs");
        conv2d::forward(&scaled, &weight, b3.as_deref(), &mut expected, &d.conv, exec).expect("it runs");
        let (mut y, mut own_u) = (unwritten::<T>(out_len), unwritten::<T>(n * c));
        forward(&x, network, &weight, b3.as_deref(), &mut y, &mut own_u, &d, exec).expect("it runs");
        assert_eq!((&y, &own_u), (&expected, &u), "{sizes:?} {:?}", exec.level()); // the forward gates in its packing: the same bits

        let (mut one_by_one, mut dscaled) = (empty(biases), unwritten::<T>(len));
        let [dx, dv1, dv2, dk, db1, db2, db3] = &mut one_by_one[..] else { unreachable!() };
        let dbias = biases.then_some(&mut db3[..]);
        conv2d::backward(&dy, &scaled, &weight, &mut dscaled, dk, dbias, &d.conv, exec).expect("it runs");
        let of = |b1, b2, v1, v2| Gradients { reduce_weight: v1, expand_weight: v2, reduce_bias: b1, expand_bias: b2 };
        let to = of(biases.then_some(&mut db1[..]), biases.then_some(&mut db2[..]), dv1, dv2);
        squeeze_excite::backward(&dscaled, &x, network, &u, dx, to, &d.excite, exec).expect("it runs");
        let mut found = empty(biases);
        let [dx, dv1, dv2, dk, db1, db2, db3] = &mut found[..] else { unreachable!() };
        let to = of(biases.then_some(&mut db1[..]), biases.then_some(&mut db2[..]), dv1, dv2);
        let all = AllGradients { x: dx, network: to, weight: dk, bias: biases.then_some(&mut db3[..]) };
        backward(&dy, &x, network, &weight, &u, all, &d, exec).expect("it runs");
        for (k, (found, expected)) in found.iter().zip(&one_by_one).enumerate() {
            assert!(difference(found, expected) < tolerance, "{k} {sizes:?} {:?}", exec.level());
        }
    });
}

#[test]
fn as_one_after_the_other() {
    let by_image = |sizes, biases| dims(sizes, biases).by_image::<f64>(&[], &[]);
    for biases in [false, true] {
        for sizes in [[2, 5, 2, 3, 4, 5], [1, 1, 1, 1, 1, 1], [3, 17, 4, 9, 9, 8], [2, 40, 3, 33, 7, 9]] {
            assert!(by_image(sizes, biases));
            check::<f64>(sizes, biases, 1e-12);
        }
        for sizes in [[3, 9, 2, 17, 4, 4], [0, 3, 2, 1, 2, 2], [2, 3, 0, 9, 2, 2]] {
            assert!(!by_image(sizes, biases));
            check::<f64>(sizes, biases, 1e-12);
        }
        check::<f64>([2, 0, 2, 3, 3, 3], biases, 1e-12);
        check::<f64>([2, 3, 2, 0, 3, 3], biases, 1e-12);
        check::<f32>([2, 64, 16, 48, 20, 21], biases, 1e-4);
        check::<f32>([2, 64, 16, 48, 6, 6], biases, 1e-4);
    }
}

#[test]
fn what_is_not_finite_keeps_its_sums_apart() {
    let d = dims([2, 3, 2, 9, 2, 2], false);
    for poison in [f64::NAN, f64::INFINITY] {
        assert!(d.by_image(&[0.0, poison], &[1.0]) && d.by_image(&[0.0], &[1.0, poison]));
    }
    assert!(!d.by_image(&[0.0], &[1.0]));
}

#[test]
fn errors() {
    let excite = || squeeze_excite::Dims::new(&[1, 3, 2, 2], &[2, 3], &[3, 2], None, None, "relu").expect("sizes fit");
    assert!(Dims::new(excite(), [1, 3, 2, 2], &[4, 3, 1, 1], Some(&[4])).is_ok());
    assert!(Dims::new(excite(), [1, 3, 2, 2], &[4, 3], None).is_err()); // (C1)
    assert!(Dims::new(excite(), [1, 3, 2, 2], &[4, 2, 1, 1], None).is_err()); // (C1)
    assert!(Dims::new(excite(), [1, 3, 2, 2], &[4, 3, 1, 1], Some(&[3])).is_err()); // (C2)
}
