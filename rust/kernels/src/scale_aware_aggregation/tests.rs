use super::*;
use crate::testing::{difference, each_exec, random, unwritten};

struct Case {
    shapes: [Vec<usize>; 7],
    d: Dims,
}

fn case(
    images: usize,
    heads: usize,
    groups: usize,
    rows: usize,
    outputs: usize,
    size: (usize, usize),
    running: bool,
) -> Case {
    let expanded = groups * rows;
    let vector = vec![expanded];
    let shapes = [
        vec![images, heads * groups, size.0, size.1],
        vec![expanded, heads, 1, 1],
        vector.clone(),
        vector.clone(),
        vector.clone(),
        vec![outputs, expanded, 1, 1],
        vec![outputs],
    ];
    let running = running.then_some((&vector[..], &vector[..]));
    let [x, w0, b0, gamma, beta, w1, b1] = &shapes;
    let arguments = Arguments {
        x: &x[..],
        proj0_weight: w0,
        proj0_bias: b0,
        bn_weight: gamma,
        bn_bias: beta,
        proj1_weight: w1,
        proj1_bias: b1,
        running,
    };
    let d = Dims::new(&arguments, 1e-3).unwrap();
    Case { shapes, d }
}

/// y, all gradients, mean and var by one of the two ways.
fn results<T: Real>(case: &Case, fused: bool, exec: &Exec) -> Vec<Vec<T>> {
    let d = &case.d;
    let count = |k: usize| case.shapes[k].iter().product::<usize>();
    let arrays: Vec<Vec<T>> = (0..7).map(|k| random(count(k), k as u64)).collect();
    let mut var: Vec<T> = random(d.expanded, 8);
    var.iter_mut().for_each(|v| *v = *v * *v);
    let running = (random::<T>(d.expanded, 7), var);
    let a = Arguments {
        x: &arrays[0][..],
        proj0_weight: &arrays[1],
        proj0_bias: &arrays[2],
        bn_weight: &arrays[3],
        bn_bias: &arrays[4],
        proj1_weight: &arrays[5],
        proj1_bias: &arrays[6],
        running: (!d.training).then_some((&running.0[..], &running.1[..])),
    };
    let (mut mean, mut var) = running.clone();
    let mut y = unwritten::<T>(d.output().iter().product());
    let dy = random::<T>(y.len(), 9);
    let mut g: Vec<Vec<T>> = (0..7).map(|k| unwritten(count(k))).collect();
    let (mut dmean, mut dvar) = (unwritten::<T>(d.expanded), unwritten::<T>(d.expanded));
    let [x, proj0_weight, proj0_bias, bn_weight, bn_bias, proj1_weight, proj1_bias] = &mut g[..] else {
        unreachable!()
    };
    let running = (!d.training).then_some((&mut dmean[..], &mut dvar[..]));
    let gradients = Gradients { x, proj0_weight, proj0_bias, bn_weight, bn_bias, proj1_weight, proj1_bias, running };
    if fused {
        forward(&a, &mut y, &mut mean, &mut var, d, exec).unwrap();
        backward(&dy, &a, (&mean, &var), gradients, d, exec).unwrap();
    } else {
        parts::forward(&a, &mut y, &mut mean, &mut var, d, exec).unwrap();
        parts::backward(&dy, &a, (&mean, &var), gradients, d, exec).unwrap();
    }
    g.extend([y, mean, var]);
    if !d.training {
        g.extend([dmean, dvar]);
    }
    g
}

#[test]
fn fused_passes_agree_with_the_parts() {
    let sizes = [
        (1, 1, 1, 1, 1, (1, 1)),
        (2, 1, 3, 2, 4, (3, 5)),
        (3, 4, 2, 8, 9, (5, 7)),
        (2, 5, 2, 3, 15, (4, 33)),
        (1, 4, 9, 8, 33, (40, 30)),
        (2, 2, 70, 3, 5, (6, 7)), // several blocks of groups
        (1, 3, 2, 150, 4, (5, 6)),
    ];
    for (images, heads, groups, rows, outputs, size) in sizes {
        for running in [false, true] {
            let case = case(images, heads, groups, rows, outputs, size, running);
            let expected = results::<f64>(&case, false, &crate::testing::serial());
            each_exec(|exec| {
                for (k, (found, expected)) in results::<f64>(&case, true, exec).iter().zip(&expected).enumerate() {
                    assert!(difference(found, expected) < 1e-9, "result {k} of {:?}, {:?}", case.d, exec.level());
                }
            });
        }
    }
}

#[test]
fn errors() {
    let Case { shapes: [x, w0, b0, gamma, beta, w1, b1], .. } = case(2, 4, 3, 8, 5, (2, 3), false);
    let fits = |x: &[usize], w0: &[usize], b0: &[usize], w1: &[usize], b1: &[usize], eps: f64| {
        let arguments = Arguments {
            x,
            proj0_weight: w0,
            proj0_bias: b0,
            bn_weight: &gamma,
            bn_bias: &beta,
            proj1_weight: w1,
            proj1_bias: b1,
            running: None,
        };
        Dims::new(&arguments, eps).is_ok()
    };
    assert!(
        fits(&x, &w0, &b0, &w1, &b1, 1.0)
            && !fits(&x[1..], &w0, &b0, &w1, &b1, 1.0)
            && !fits(&x, &w0, &b0, &w1, &b1, 0.0)
    );
    assert!(!fits(&[2, 12, 2, 0], &w0, &b0, &w1, &b1, 1.0) && !fits(&[2, 10, 2, 3], &w0, &b0, &w1, &b1, 1.0));
    assert!(!fits(&x, &[25, 4, 1, 1], &b0, &w1, &b1, 1.0) && !fits(&x, &[24, 4, 1, 3], &b0, &w1, &b1, 1.0));
    assert!(
        !fits(&x, &w0, &[23], &w1, &b1, 1.0)
            && !fits(&x, &w0, &b0, &[5, 23, 1, 1], &b1, 1.0)
            && !fits(&x, &w0, &b0, &w1, &[4], 1.0)
    );
}
