use super::*;
use crate::gemm::DEPTH;
use crate::testing::{difference, each_exec, random, unwritten};

/// Whole offsets: every tap is a pixel of the map with zeros around it.
fn check<T: Real>(images: usize, channels: usize, outputs: usize, groups: usize, offset_groups: usize, masked: bool) {
    let (size, out, taps) = ((5, 6), (5, 6), 9);
    let (pixels, points, per_group) = (30, offset_groups * taps, channels / groups);
    let mask = [images, points, out.0, out.1];
    let shapes = Arguments {
        x: &[images, channels, size.0, size.1][..],
        offset: &[images, 2 * points, out.0, out.1],
        weight: &[outputs, per_group, 3, 3],
        mask: masked.then_some(&mask[..]),
        bias: Some(&[outputs][..]),
    };
    let (stride, dilation, padding) = ((1, 1), (1, 1), (1, 1));
    let settings = Settings { stride, padding, dilation, groups, offset_groups, kink: "right" };
    let d = Dims::new(&shapes, &settings).unwrap();
    let x = random::<T>(images * channels * pixels, 1);
    let weight = random::<T>(outputs * per_group * taps, 2);
    let moves: Vec<isize> = (0..images * 2 * points * pixels).map(|k| (k * 7 % 5) as isize - 2).collect();
    let offset: Vec<T> = moves.iter().map(|&m| T::from_f64(m as f64)).collect();
    let (mask, bias) = (random::<T>(images * points * pixels, 3), random::<T>(outputs, 4));
    let arrays = Arguments {
        x: &x[..],
        offset: &offset,
        weight: &weight,
        mask: masked.then_some(&mask[..]),
        bias: Some(&bias[..]),
    };
    let dy = random::<T>(images * outputs * pixels, 5);
    let (mut y, mut dx) = (vec![T::ZERO; dy.len()], vec![T::ZERO; x.len()]);
    let (mut dweight, mut dmask) = (vec![T::ZERO; weight.len()], vec![T::ZERO; mask.len()]);
    let mut doffset = vec![T::ZERO; offset.len()];
    for (at, y) in y.iter_mut().enumerate() {
        let (n, o, i, j) = (at / pixels / outputs, at / pixels % outputs, at % pixels / out.1, at % out.1);
        *y = bias[o];
        let group = o / (outputs / groups);
        for (inner, tap) in (0..per_group).flat_map(|inner| (0..taps).map(move |tap| (inner, tap))) {
            let c = group * per_group + inner;
            let m = (n * offset_groups + c / (channels / offset_groups)) * taps + tap;
            let a = (i + tap / 3) as isize - 1 + moves[2 * m * pixels + at % pixels];
            let b = (j + tap % 3) as isize - 1 + moves[(2 * m + 1) * pixels + at % pixels];
            let (plane, factor) = (n * channels + c, m * pixels + at % pixels);
            let (k, m_y) = ((o * per_group + inner) * taps + tap, 2 * m * pixels + at % pixels);
            let mask = if masked { mask[factor] } else { T::ONE };
            let read = |a: isize, b: isize| {
                let inside = (0..size.0 as isize).contains(&a) && (0..size.1 as isize).contains(&b);
                if inside { x[plane * pixels + a as usize * size.1 + b as usize] } else { T::ZERO }
            };
            // The slopes are those to the next pixels, also in the frame just before the map.
            if (-1..size.0 as isize).contains(&a) && (-1..size.1 as isize).contains(&b) {
                let ds = dy[at] * weight[k] * mask;
                doffset[m_y] += ds * (read(a + 1, b) - read(a, b));
                doffset[m_y + pixels] += ds * (read(a, b + 1) - read(a, b));
            }
            if (0..size.0 as isize).contains(&a) && (0..size.1 as isize).contains(&b) {
                let from = plane * pixels + a as usize * size.1 + b as usize;
                *y += weight[k] * mask * x[from];
                dx[from] += dy[at] * weight[k] * mask;
                dweight[k] += dy[at] * mask * x[from];
                dmask[factor] += dy[at] * weight[k] * x[from];
            }
        }
    }
    each_exec(|exec| {
        let mut got = unwritten::<T>(y.len());
        forward(&arrays, &mut got, &d, exec).unwrap();
        assert!(difference(&got, &y) < 1e-4, "y");
        let (mut gx, mut goffset) = (unwritten::<T>(x.len()), unwritten::<T>(offset.len()));
        let (mut gweight, mut gmask, mut gbias) =
            (unwritten::<T>(weight.len()), unwritten::<T>(mask.len()), unwritten::<T>(outputs));
        let gradients = Arguments {
            x: &mut gx[..],
            offset: &mut goffset[..],
            weight: &mut gweight[..],
            mask: masked.then_some(&mut gmask[..]),
            bias: Some(&mut gbias[..]),
        };
        backward(&dy, &arrays, gradients, &d, exec).unwrap();
        assert!(difference(&gx, &dx) < 1e-4 && difference(&gweight, &dweight) < 1e-4);
        assert!(!masked || difference(&gmask, &dmask) < 1e-4);
        assert!(difference(&goffset, &doffset) < 1e-4, "doffset");
    });
}

#[test]
fn whole_offsets_against_loops() {
    check::<f32>(2, 3, 5, 1, 1, true);
    check::<f64>(1, 4, 6, 2, 1, false);
    check::<f64>(2, 6, 4, 2, 3, true);
    check::<f32>(1, 37, 35, 1, 1, true);
    check::<f64>(1, 2, DEPTH + 3, 1, 1, true); // two blocks of outputs
    check::<f32>(2, 70, 3, 1, 5, true); // two tasks for an image, offset groups across panels
    check::<f32>(9, 32, 16, 16, 1, false); // several images at once, several groups in a task
    check::<f64>(2, 4, 0, 2, 2, true);
}

/// Not even for the weights that stand in where there are no outputs.
#[test]
fn no_images_take_no_memory() {
    let most = 1 << 20;
    let shapes = Arguments {
        x: &[0, most, 1, 1][..],
        offset: &[0, 2 * most, most + 2, 1],
        weight: &[0, most, most, 1],
        mask: None,
        bias: None,
    };
    let settings =
        Settings { stride: (1, 1), padding: (most, 0), dilation: (1, 1), groups: 1, offset_groups: 1, kink: "right" };
    let d = Dims::new(&shapes, &settings).unwrap();
    let arrays = Arguments { x: &[][..], offset: &[], weight: &[], mask: None, bias: None };
    each_exec(|exec| {
        let gradients =
            Arguments::<&mut [f64]> { x: &mut [], offset: &mut [], weight: &mut [], mask: None, bias: None };
        backward(&[], &arrays, gradients, &d, exec).unwrap();
    });
}

/// Every image has tasks of its own: for maps in several pieces, and for a weight of which there are no copies.
#[test]
fn a_batch_is_its_images_one_after_the_other() {
    check_batch(3, 64, 200, 30);
    check_batch(3, 64, 3700, 8);
}

fn check_batch(images: usize, channels: usize, outputs: usize, side: usize) {
    let pixels = side * side;
    let lengths = |n: usize| [n * channels * pixels, n * 18 * pixels, outputs * channels * 9, n * 9 * pixels, outputs];
    let [x, offset, weight, mask, _] = std::array::from_fn(|k| random::<f32>(lengths(images)[k], k as u64));
    let dy = random::<f32>(images * outputs * pixels, 5);
    let exec = Exec::new(2, crate::lanes::Level::best(), &|| false);
    let run = |first: usize, n: usize| {
        let own = |array: &[f32]| array[array.len() / images * first..array.len() / images * (first + n)].to_vec();
        let (x, offset, mask, dy) = (own(&x), own(&offset), own(&mask), own(&dy));
        let arrays = Arguments { x: &x[..], offset: &offset, weight: &weight, mask: Some(&mask[..]), bias: None };
        let shapes = Arguments {
            x: &[n, channels, side, side][..],
            offset: &[n, 18, side, side],
            weight: &[outputs, channels, 3, 3],
            mask: Some(&[n, 9, side, side]),
            bias: None,
        };
        let pair = (1, 1);
        let settings =
            Settings { stride: pair, padding: pair, dilation: pair, groups: 1, offset_groups: 1, kink: "right" };
        let d = Dims::new(&shapes, &settings).unwrap();
        let [mut gx, mut goffset, mut gweight, mut gmask, _] = lengths(n).map(unwritten::<f32>);
        let gradients = Arguments {
            x: &mut gx[..],
            offset: &mut goffset[..],
            weight: &mut gweight[..],
            mask: Some(&mut gmask[..]),
            bias: None,
        };
        backward(&dy, &arrays, gradients, &d, &exec).unwrap();
        [gx, goffset, gmask, gweight]
    };
    let [gx, goffset, gmask, gweight] = run(0, images);
    let alone: Vec<_> = (0..images).map(|image| run(image, 1)).collect();
    for (k, whole) in [gx, goffset, gmask].iter().enumerate() {
        let joined: Vec<f32> = alone.iter().flat_map(|gradients| gradients[k].clone()).collect();
        assert_eq!(*whole, joined); // not a bit depends on other images
    }
    let mut sum = vec![0.0; gweight.len()];
    for gradients in &alone {
        sum.iter_mut().zip(&gradients[3]).for_each(|(sum, g)| *sum += g);
    }
    assert_eq!(gweight, sum);
}

#[test]
fn shapes_are_checked() {
    let shapes =
        Arguments { x: &[1, 2, 3, 4][..], offset: &[1, 8, 2, 3], weight: &[2, 2, 2, 2], mask: None, bias: None };
    let settings =
        Settings { stride: (1, 1), padding: (0, 0), dilation: (1, 1), groups: 1, offset_groups: 1, kink: "right" };
    assert!(Dims::new(&shapes, &settings).is_ok());
    assert!(Dims::new(&shapes, &Settings { kink: "left", ..settings.clone() }).is_err());
    assert!(Dims::new(&shapes, &Settings { offset_groups: 3, ..settings.clone() }).is_err());
    assert!(Dims::new(&Arguments { offset: &[1, 8, 3, 3][..], ..shapes }, &settings).is_err());
    assert!(Dims::new(&Arguments { mask: Some(&[1, 8, 2, 3][..]), ..shapes }, &settings).is_err());
}
