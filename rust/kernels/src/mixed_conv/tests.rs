use super::*;
use crate::testing::{difference, each_exec, grid, random, unwritten};

fn check<T: Real>(images: usize, each: usize, (height, width): (usize, usize), sizes: &[usize]) {
    let (channels, taps) = (each * sizes.len(), sizes.iter().map(|k| k * k).sum::<usize>());
    let shape = [images, channels, height, width];
    let d = Dims::new(&shape, &[each, taps], Some(&[channels]), sizes).unwrap();
    let (x, dy) = (random::<T>(d.len(), 1), random::<T>(d.len(), 2));
    let (weight, bias) = (random::<T>(each * taps, 3), random::<T>(channels, 4));
    let (mut y, mut dx) = (vec![T::ZERO; d.len()], vec![T::ZERO; d.len()]);
    let (mut dweight, mut dbias) = (vec![T::ZERO; weight.len()], vec![T::ZERO; channels]);
    for (n, c, at) in grid([images, channels, height * width]) {
        let (t, i) = (c / each, c % each);
        let (k, first) = (sizes[t], sizes[..t].iter().map(|k| k * k).sum::<usize>());
        let to = (n * channels + c) * height * width + at;
        y[to] += bias[c];
        dbias[c] += dy[to];
        for (_, p, q) in grid([1, k, k]) {
            let (a, b) = ((at / width + p).wrapping_sub(k / 2), (at % width + q).wrapping_sub(k / 2));
            if a < height && b < width {
                let (from, tap) = ((n * channels + c) * height * width + a * width + b, i * taps + first + p * k + q);
                y[to] += weight[tap] * x[from];
                dweight[tap] += dy[to] * x[from];
                dx[from] += weight[tap] * dy[to];
            }
        }
    }
    each_exec(|exec| {
        let mut found = [unwritten(y.len()), unwritten(dx.len()), unwritten(dweight.len()), unwritten(dbias.len())];
        let [y1, dx1, dweight1, dbias1] = &mut found;
        forward(&x, &weight, Some(&bias), y1, &d, exec).unwrap();
        backward(&dy, &x, &weight, dx1, dweight1, Some(dbias1), &d, exec).unwrap();
        for (found, expected) in found.iter().zip([&y, &dx, &dweight, &dbias]) {
            assert!(difference(found, expected) < 1e-5, "{shape:?} {sizes:?} {:?}", exec.level());
        }
    });
}

#[test]
fn literal_loops() {
    for (images, each, extent) in grid([3, 3, 5]) {
        check::<f64>(images, each, (extent, 3), &[3, 5]);
    }
    check::<f32>(2, 3, (9, 19), &[3, 5, 7, 9]);
    check::<f64>(1, 2, (4, 6), &[11, 1, 3]);
    check::<f32>(3, 1, (2, 1), &[5]);
}

#[test]
fn errors() {
    let fits = |x: &[usize], weight: &[usize], sizes: &[usize]| Dims::new(x, weight, None, sizes).is_ok();
    assert!(fits(&[1, 4, 3, 3], &[2, 34], &[3, 5]) && !fits(&[1, 4, 3, 3], &[2, 34], &[5, 4]));
    assert!(!fits(&[1, 4, 3], &[2, 34], &[3, 5]) && !fits(&[1, 5, 3, 3], &[2, 34], &[3, 5]));
    assert!(!fits(&[1, 4, 3, 3], &[4, 34], &[3, 5]) && !fits(&[1, 4, 3, 3], &[2, 34], &[]));
    assert!(!fits(&[1, 0, 3, 3], &[0, 9], &[usize::MAX]));
    assert!(Dims::new(&[1, 4, 3, 3], &[2, 34], Some(&[2]), &[3, 5]).is_err());
}
