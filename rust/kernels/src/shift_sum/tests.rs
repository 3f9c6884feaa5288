use super::*;
use crate::testing::{each_exec, grid, random, unwritten};

type Pair = (usize, usize);

/// The sums written as loops; integers and their halves are exact, so results must be equal.
fn naive<T: Real>(maps: &[T], dy: &[T], [images, outputs]: [usize; 2], (h, w): Pair, k: Pair, s: Pair) -> [Vec<T>; 2] {
    let (ho, wo) = (h.div_ceil(s.0), w.div_ceil(s.1));
    let (mut y, mut dmaps) = (vec![T::ZERO; images * outputs * ho * wo], vec![T::ZERO; maps.len()]);
    for (plane, i, j) in grid([images * outputs, ho, wo]) {
        let (n, o, at) = (plane / outputs, plane % outputs, (plane * ho + i) * wo + j);
        for (m, p, q) in grid([1, k.0, k.1]).map(|(_, p, q)| (p * k.1 + q, p, q)) {
            let (a, b) = ((i * s.0 + p).wrapping_sub(k.0 / 2), (j * s.1 + q).wrapping_sub(k.1 / 2));
            if a < h && b < w {
                let from = (((n * k.0 * k.1 + m) * outputs + o) * h + a) * w + b;
                y[at] += maps[from];
                dmaps[from] += dy[at];
            }
        }
    }
    [y, dmaps]
}

fn check<T: Real>(planes: [usize; 2], size: Pair, k: Pair, s: Pair) {
    let shape = [planes[0], k.0 * k.1, planes[1], size.0, size.1];
    let d = Dims::new(&shape, k, s).unwrap();
    let (mut maps, dy) = (random::<T>(d.maps_len, 1), random::<T>(d.y_len, 2));
    if let Some(x) = maps.last_mut() {
        *x = T::NEG_INFINITY; // seen only where it is read
    }
    let [y_expected, dmaps_expected] = naive(&maps, &dy, planes, size, k, s);
    each_exec(|exec| {
        let (mut y, mut dmaps) = (unwritten::<T>(d.y_len), unwritten::<T>(d.maps_len));
        forward(&maps, &mut y, &d, exec).unwrap();
        backward(&dy, &mut dmaps, &d, exec).unwrap();
        assert!(y == y_expected && dmaps == dmaps_expected, "{shape:?} {k:?} {s:?}");
    });
}

#[test]
fn standard() {
    for (h, w, k) in grid([6, 21, 5]) {
        check::<f32>([2, 3], (h, w), (k + 1, 3), (1, 1));
    }
    for (sh, sw, k) in grid([3, 3, 6]) {
        check::<f64>([1, 2], (7, 38), (2, k + 1), (sh + 1, sw + 1));
        check::<f32>([2, 1], (4, 70), (k + 1, 4), (sh + 1, sw + 1));
    }
    check::<f32>([2, 0], (3, 3), (3, 3), (1, 1));
    check::<f32>([0, 2], (3, 3), (3, 3), (1, 1));
    check::<f32>([3, 5], (33, 70), (3, 3), (1, 1));
    check::<f64>([1, 1], (2, 3), (9, 9), (1, 50));
}

#[test]
fn grouped_layout() {
    let (k, size) = ((3, 3), (5, 6));
    let (d, grouped) = (Dims::new(&[2, 9, 3, 5, 6], k, (1, 2)), Dims::grouped(&[2, 3, 9, 5, 6], k, (1, 2)));
    let (d, grouped, plane) = (d.unwrap(), grouped.unwrap(), size.0 * size.1);
    let maps = random::<f32>(d.maps_len, 3);
    let mut swapped = unwritten::<f32>(d.maps_len);
    for (n, m, o) in grid([2, 9, 3]) {
        let (from, to) = (((n * 9 + m) * 3 + o) * plane, ((n * 3 + o) * 9 + m) * plane);
        swapped[to..][..plane].copy_from_slice(&maps[from..][..plane]);
    }
    each_exec(|exec| {
        let [mut y, mut z] = [unwritten::<f32>(d.y_len), unwritten::<f32>(d.y_len)];
        let [mut dmaps, mut dswapped] = [unwritten::<f32>(d.maps_len), unwritten::<f32>(d.maps_len)];
        forward(&maps, &mut y, &d, exec).unwrap();
        forward(&swapped, &mut z, &grouped, exec).unwrap();
        assert_eq!(y, z);
        backward(&y, &mut dmaps, &d, exec).unwrap();
        backward(&y, &mut dswapped, &grouped, exec).unwrap();
        for (n, m, o) in grid([2, 9, 3]) {
            let (from, to) = (((n * 9 + m) * 3 + o) * plane, ((n * 3 + o) * 9 + m) * plane);
            assert_eq!(dswapped[to..][..plane], dmaps[from..][..plane]);
        }
    });
}

#[test]
fn c1_maps() {
    assert!(Dims::new(&[1, 8, 2, 3, 3], (3, 3), (1, 1)).is_err() && Dims::new(&[9, 2, 3, 3], (3, 3), (1, 1)).is_err());
    assert!(Dims::new(&[1, 9, 2, 3, 3], (3, 3), (0, 1)).is_err());
    assert!(Dims::new(&[usize::MAX, 9, 2, 3, 3], (3, 3), (1, 1)).is_err());
}
