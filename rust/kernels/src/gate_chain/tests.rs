use super::*;
use crate::testing::{difference, each_exec, random, unwritten};

/// Literal loops, pixel by pixel.
fn check<T: Real>(images: usize, first: usize, order: usize, pixels: usize, with_bias: bool) {
    let widths: Vec<usize> = (0..order).map(|k| first << k).collect();
    let (gates, rows) = (widths.iter().sum::<usize>(), widths.iter().skip(1).sum::<usize>());
    let entries: usize = (1..order).map(|k| widths[k] * widths[k - 1]).sum();
    let last = widths[order - 1];
    let (p0, filtered) = (random::<T>(images * first * pixels, 1), random::<T>(images * gates * pixels, 2));
    let (weight, bias, dy) = (random::<T>(entries, 3), random::<T>(rows, 4), random::<T>(images * last * pixels, 5));
    let scale = T::from_f64(0.5);
    let bias = with_bias.then_some(&bias[..]);
    let zero = |n: usize| vec![T::ZERO; n];
    let (mut y, mut dp0, mut df) = (zero(dy.len()), zero(p0.len()), zero(filtered.len()));
    let (mut dw, mut db) = (zero(entries), zero(rows));
    for (n, i) in (0..images).flat_map(|n| (0..pixels).map(move |i| (n, i))) {
        let pixel = |x: &[T], channels: usize, c: usize| x[(n * channels + c) * pixels + i];
        let mut us = vec![(0..first).map(|c| pixel(&p0, first, c)).collect::<Vec<T>>()];
        let mut ps = vec![Vec::new()];
        let (mut at, mut row, mut before) = (0, 0, 0);
        let mut starts = vec![(0, 0)];
        for k in 0..order {
            if k > 0 {
                let p: &Vec<T> = &ps[k];
                let of = |o: usize| {
                    let start = bias.map_or(T::ZERO, |bias| bias[row + o]);
                    p.iter().enumerate().fold(start, |sum, (c, &p)| sum + weight[at + o * widths[k - 1] + c] * p)
                };
                let u: Vec<T> = (0..widths[k]).map(of).collect(); // (F1)
                us.push(u);
                starts.push((at, row));
                at += widths[k] * widths[k - 1];
                row += widths[k];
            }
            let p = (0..widths[k]).map(|c| scale * pixel(&filtered, gates, before + c) * us[k][c]).collect(); // (F2)
            ps.push(p);
            before += widths[k];
        }
        let mut dp: Vec<T> = (0..last).map(|c| pixel(&dy, last, c)).collect();
        for c in 0..last {
            y[(n * last + c) * pixels + i] = ps[order][c];
        }
        for k in (0..order).rev() {
            before -= widths[k];
            let mut du = vec![T::ZERO; widths[k]];
            for c in 0..widths[k] {
                df[(n * gates + before + c) * pixels + i] = scale * dp[c] * us[k][c]; // (B1)
                du[c] = scale * dp[c] * pixel(&filtered, gates, before + c); // (B2)
            }
            if k == 0 {
                for c in 0..first {
                    dp0[(n * first + c) * pixels + i] = du[c]; // (B4)
                }
                break;
            }
            let (at, row) = starts[k];
            dp = vec![T::ZERO; widths[k - 1]];
            for o in 0..widths[k] {
                db[row + o] += du[o]; // (B3)
                for c in 0..widths[k - 1] {
                    dw[at + o * widths[k - 1] + c] += du[o] * ps[k][c];
                    dp[c] += weight[at + o * widths[k - 1] + c] * du[o];
                }
            }
        }
    }
    let shape = |channels| [images, channels, 1, pixels];
    let d = Dims::new(&shape(first), &shape(gates), Some(&[entries]), Some(&[rows]), order).unwrap();
    assert_eq!((d.output(), d.saved()), (shape(last), shape(rows)));
    let arguments = Arguments { p0: &p0, filtered: &filtered, weight: Some(&weight), bias, scale };
    each_exec(|exec| {
        let (mut found, mut u) = (unwritten::<T>(y.len()), unwritten::<T>(images * rows * pixels));
        forward(&arguments, &mut found, &mut u, &d, exec).unwrap();
        assert!(difference(&found, &y) < 1e-5);
        let mut grads = [p0.len(), filtered.len(), entries, rows].map(unwritten::<T>);
        let [a, b, c, e] = &mut grads;
        let gradients = Gradients { p0: a, filtered: b, weight: Some(c), bias: with_bias.then_some(&mut e[..]) };
        backward(&dy, &arguments, &u, gradients, &d, exec).unwrap();
        for (k, (found, expected)) in grads.iter().zip([&dp0, &df, &dw, &db]).enumerate() {
            assert!(k == 3 && !with_bias || difference(found, expected) < 1e-5, "gradient {k} at {:?}", exec.level());
        }
    });
}

#[test]
fn literal_loops() {
    for order in 1..5 {
        check::<f64>(2, 1, order, 3, true);
        check::<f64>(3, 3, order, 13, false);
    }
    check::<f32>(2, 17, 2, 49, true);
    check::<f64>(1, 5, 3, 131, true);
    check::<f64>(2, 2, 3, 0, true);
}

/// More than one block of terms, and more than one task.
#[test]
fn wide_chains() {
    check::<f32>(1, 300, 2, 40, true);
    check::<f32>(2, 8, 2, 700, false);
}

#[test]
fn errors() {
    let p0 = &[1, 2, 3, 3][..];
    assert!(Dims::new(p0, &[1, 6, 3, 3], Some(&[8]), Some(&[4]), 2).is_ok());
    assert!(Dims::new(p0, &[1, 6, 3, 3], None, None, 2).is_err() && Dims::new(p0, p0, None, None, 1).is_ok());
    assert!(Dims::new(p0, &[1, 6, 3, 3], Some(&[7]), None, 2).is_err());
    assert!(Dims::new(p0, &[1, 6, 3, 3], Some(&[8]), Some(&[3]), 2).is_err());
    assert!(Dims::new(p0, &[1, 7, 3, 3], Some(&[8]), None, 2).is_err());
    assert!(Dims::new(&[1, 0, 3, 3], &[1, 0, 3, 3], None, None, 1).is_err());
    for order in [0, 31, 64, usize::MAX] {
        assert!(Dims::new(p0, &[1, 6, 3, 3], Some(&[8]), None, order).is_err());
    }
    assert!(Dims::new(&[1, 1 << 40, 1, 1], &[1, 3 << 40, 1, 1], Some(&[1]), None, 2).is_err());
}
