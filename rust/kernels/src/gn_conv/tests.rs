use super::*;
use crate::testing::{difference, each_exec, random, unwritten};

/// (F1) to (F4) and (B1) to (B4) from the parts' kernels, the projected map in one piece.
#[test]
fn parts() {
    for (order, first, inputs, outputs, size) in
        [(1, 3, 4, 5, (3, 4)), (2, 2, 3, 4, (5, 3)), (3, 2, 9, 6, (7, 7)), (2, 150, 40, 30, (2, 5))]
    {
        let (images, pixels) = (2, size.0 * size.1);
        let (rows, wide) = (first << order, first << (order - 1));
        let entries: usize = (1..order).map(|k| (first * first) << (2 * k - 1)).sum();
        let between = rows - 2 * first;
        let lens = [
            images * inputs * pixels,
            rows * inputs,
            (rows - first) * 9,
            entries,
            outputs * wide,
            rows,
            rows - first,
            between,
            outputs,
        ];
        let arrays: Vec<Vec<f64>> = lens.iter().enumerate().map(|(k, &n)| random(n, k as u64)).collect();
        let map = |channels: usize| [images, channels, size.0, size.1];
        let (x, q) = (map(inputs), map(rows - first));
        let shapes = Arguments {
            x: &x[..],
            proj_in_weight: &[rows, inputs, 1, 1],
            dwconv_weight: &[rows - first, 1, 3, 3],
            pws_weight: Some(&[entries]),
            proj_out_weight: Some(&[outputs, wide, 1, 1]),
            proj_in_bias: Some(&[rows]),
            dwconv_bias: Some(&[rows - first]),
            pws_bias: Some(&[between]),
            proj_out_bias: Some(&[outputs]),
        };
        let d = Dims::new(&shapes, order).unwrap();
        assert_eq!((d.output(), d.saved().q, d.saved().u), (map(outputs), q, map(between)));
        let a = arguments(&arrays);
        let dy = random::<f64>(images * outputs * pixels, 20);
        let entry = conv2d::Dims::pointwise(images, inputs, rows, pixels).unwrap();
        let out = conv2d::Dims::pointwise(images, wide, outputs, pixels).unwrap();
        each_exec(|exec| {
            // The projected map in one piece, cut by hand.
            let mut projected = vec![0.0; images * rows * pixels];
            conv2d::forward(a.x, a.proj_in_weight, a.proj_in_bias, &mut projected, &entry, exec).unwrap();
            let part = |from: usize, to: usize| -> Vec<f64> {
                projected.chunks_exact(rows * pixels).flat_map(|x| x[from * pixels..to * pixels].to_vec()).collect()
            };
            let (p0, q) = (part(0, first), part(first, rows));
            let mut filtered = vec![0.0; q.len()];
            conv2d::forward(&q, a.dwconv_weight, a.dwconv_bias, &mut filtered, &d.filter, exec).unwrap();
            let chain = gate_chain::Arguments {
                p0: &p0,
                filtered: &filtered,
                weight: a.pws_weight,
                bias: a.pws_bias,
                scale: 0.5,
            };
            let (mut pn, mut u) = (vec![0.0; images * wide * pixels], vec![0.0; images * between * pixels]);
            gate_chain::forward(&chain, &mut pn, &mut u, &d.chain, exec).unwrap();
            let mut expected = vec![0.0; dy.len()];
            conv2d::forward(&pn, arrays[4].as_slice(), a.proj_out_bias, &mut expected, &out, exec).unwrap();

            let mut saved = [p0.len(), q.len(), q.len(), u.len()].map(unwritten::<f64>);
            let mut y = unwritten::<f64>(dy.len());
            let [s0, s1, s2, s3] = &mut saved;
            forward(&a, 0.5, &mut y, Saved { p0: s0, q: s1, filtered: s2, u: s3 }, &d, exec).unwrap();
            for (found, expected) in saved.iter().zip([&p0, &q, &filtered, &u]).chain([(&y, &expected)]) {
                assert!(difference(found, expected) < 1e-12);
            }

            let zero = |k: usize| vec![0.0; arrays[k].len()];
            let mut want: Vec<Vec<f64>> = (0..9).map(zero).collect();
            let (mut dpn, mut dp0, mut df, mut dq) =
                (vec![0.0; pn.len()], vec![0.0; p0.len()], vec![0.0; q.len()], vec![0.0; q.len()]);
            let g = gradients(&mut want);
            let (gw, gb) = (g.proj_out_weight.unwrap(), g.proj_out_bias);
            conv2d::backward(&dy, &pn, &arrays[4], &mut dpn, gw, gb, &out, exec).unwrap();
            let of_chain =
                gate_chain::Gradients { p0: &mut dp0, filtered: &mut df, weight: g.pws_weight, bias: g.pws_bias };
            gate_chain::backward(&dpn, &chain, &u, of_chain, &d.chain, exec).unwrap();
            conv2d::backward(&df, &q, a.dwconv_weight, &mut dq, g.dwconv_weight, g.dwconv_bias, &d.filter, exec)
                .unwrap();
            let halves = dp0.chunks_exact(first * pixels).zip(dq.chunks_exact((rows - first) * pixels));
            let joined: Vec<f64> = halves.flat_map(|(a, b)| [a, b].concat()).collect();
            conv2d::backward(&joined, a.x, a.proj_in_weight, g.x, g.proj_in_weight, g.proj_in_bias, &entry, exec)
                .unwrap();

            let mut found: Vec<Vec<f64>> = lens.iter().map(|&n| unwritten(n)).collect();
            let [p0, q, filtered, u] = &saved;
            let saved = Saved { p0: &p0[..], q, filtered, u };
            backward(&dy, &a, 0.5, &saved, gradients(&mut found), &d, exec).unwrap();
            for (k, (found, want)) in found.iter().zip(&want).enumerate() {
                assert!(difference(found, want) < 1e-11, "gradient {k} of order {order}");
            }
        });
    }
}

fn arguments(arrays: &[Vec<f64>]) -> Arguments<&[f64]> {
    Arguments {
        x: &arrays[0],
        proj_in_weight: &arrays[1],
        dwconv_weight: &arrays[2],
        pws_weight: Some(&arrays[3]),
        proj_out_weight: Some(&arrays[4]),
        proj_in_bias: Some(&arrays[5]),
        dwconv_bias: Some(&arrays[6]),
        pws_bias: Some(&arrays[7]),
        proj_out_bias: Some(&arrays[8]),
    }
}

fn gradients(arrays: &mut [Vec<f64>]) -> Arguments<&mut [f64]> {
    let [x, proj_in_weight, dwconv_weight, pws, out, in_bias, dw_bias, pws_bias, out_bias] = arrays else {
        unreachable!("nine arrays")
    };
    Arguments {
        x,
        proj_in_weight,
        dwconv_weight,
        pws_weight: Some(pws),
        proj_out_weight: Some(out),
        proj_in_bias: Some(in_bias),
        dwconv_bias: Some(dw_bias),
        pws_bias: Some(pws_bias),
        proj_out_bias: Some(out_bias),
    }
}

#[test]
fn errors() {
    let shapes = Arguments {
        x: &[1, 4, 3, 3][..],
        proj_in_weight: &[8, 4, 1, 1],
        dwconv_weight: &[6, 1, 3, 3],
        pws_weight: Some(&[8]),
        proj_out_weight: None,
        proj_in_bias: None,
        dwconv_bias: None,
        pws_bias: None,
        proj_out_bias: None,
    };
    assert_eq!(Dims::new(&shapes, 2).unwrap().output(), [1, 4, 3, 3]);
    for wrong in [
        Arguments { x: &[1, 4, 0, 3][..], ..shapes },
        Arguments { proj_in_weight: &[6, 4, 1, 1][..], ..shapes },
        Arguments { proj_in_weight: &[8, 3, 1, 1][..], ..shapes },
        Arguments { dwconv_weight: &[6, 1, 2, 3][..], ..shapes },
        Arguments { dwconv_weight: &[8, 1, 3, 3][..], ..shapes },
        Arguments { pws_weight: None, ..shapes },
        Arguments { proj_out_weight: Some(&[2, 3, 1, 1]), ..shapes },
        Arguments { proj_out_bias: Some(&[4]), ..shapes },
        Arguments { proj_in_bias: Some(&[4]), ..shapes },
    ] {
        assert!(Dims::new(&wrong, 2).is_err());
    }
    assert!(Dims::new(&shapes, 0).is_err() && Dims::new(&shapes, 99).is_err() && Dims::new(&shapes, 3).is_err());
}
