//! Stage II of a convolution: the map of each tap is shifted by the tap's position, and all are summed.
//!
//! Shapes       maps (N, kh·kw, O, H, W) -> y (N, O, ⌈H/sh⌉, ⌈W/sw⌉); the centre tap is (ch, cw) = (⌊kh/2⌋, ⌊kw/2⌋)
//! Forward      (F1) g = Σ_pq Shift(maps[m], p−ch, q−cw), m = p·kw + q    (F2) y[i, j] = g[i·sh, j·sw]
//! Backward     (B1) dg = dy placed on the stride grid, zeros elsewhere    (B2) dmaps[m] = Shift(dg, ch−p, cw−q)
//! Constraints  (C1) maps is (N, kh·kw, O, H, W), one map per tap of kernel_size
//!
//! Nothing is multiplied: one pass over the maps, each pixel summed in a register in the order of the taps.

use std::ops::Range;

use crate::error::{Error, require};
use crate::exec::Exec;
use crate::lanes::{Isa, MAX_LANES, Task, V, Vector};
use crate::planes::{product, require_len};
use crate::real::Real;

#[derive(Clone, Copy, Debug)]
pub struct Dims {
    images: usize,
    outputs: usize,
    kernel: (usize, usize),
    size: (usize, usize),
    stride: (usize, usize),
    out: (usize, usize),
    maps_len: usize,
    y_len: usize,
    /// Planes from a map to the next one of the same output, and from an output to the next one of the same tap.
    map_step: usize,
    output_step: usize,
}

impl Dims {
    pub fn new(maps: &[usize], kernel: (usize, usize), stride: (usize, usize)) -> Result<Dims, Error> {
        require(maps.len() == 5 && product(&[kernel.0, kernel.1])? == maps[1], || {
            format!("(C1) maps: shape (N, kh*kw, O, H, W) expected for kernel_size {kernel:?}, got {maps:?}")
        })?;
        let outputs = maps[2];
        Dims::with_steps(maps, outputs, kernel, stride, (outputs, 1))
    }

    /// The same for maps (N, O, kh·kw, H, W): the maps of an output lie together.
    pub fn grouped(maps: &[usize], kernel: (usize, usize), stride: (usize, usize)) -> Result<Dims, Error> {
        require(maps.len() == 5 && product(&[kernel.0, kernel.1])? == maps[2], || {
            format!("(C1) maps: shape (N, d, k*k, H, W) expected for kernel_size {kernel:?}, got {maps:?}")
        })?;
        Dims::with_steps(maps, maps[1], kernel, stride, (1, maps[2]))
    }

    fn with_steps(
        maps: &[usize],
        outputs: usize,
        kernel: (usize, usize),
        stride: (usize, usize),
        (map_step, output_step): (usize, usize),
    ) -> Result<Dims, Error> {
        require(kernel.0 > 0 && kernel.1 > 0 && stride.0 > 0 && stride.1 > 0, || {
            format!("kernel_size and stride must be positive, got {kernel:?} and {stride:?}")
        })?;
        let (size, maps_len) = ((maps[3], maps[4]), product(maps)?);
        let out = (size.0.div_ceil(stride.0), size.1.div_ceil(stride.1));
        let y_len = product(&[maps[0], outputs, out.0, out.1])?;
        Ok(Dims { images: maps[0], outputs, kernel, size, stride, out, maps_len, y_len, map_step, output_step })
    }

    /// Shape of y.
    pub fn output(&self) -> [usize; 4] {
        [self.images, self.outputs, self.out.0, self.out.1]
    }

    fn plane(&self) -> usize {
        self.size.0 * self.size.1
    }

    fn taps(&self) -> usize {
        self.kernel.0 * self.kernel.1
    }
}

pub fn forward<T: Real>(maps: &[T], y: &mut [T], d: &Dims, exec: &Exec) -> Result<(), Error> {
    require_len("maps", maps, d.maps_len)?;
    require_len("y", y, d.y_len)?;
    if d.y_len == 0 {
        return Ok(());
    }
    let (y_plane, planes) = (d.out.0 * d.out.1, Exec::batch(d.plane() * d.taps() / 4));
    let tasks = y.chunks_mut(planes * y_plane).enumerate();
    exec.for_each(d.maps_len / 4, tasks, |(task, y)| {
        for (index, y) in y.chunks_exact_mut(y_plane).enumerate() {
            let (image, o) = ((task * planes + index) / d.outputs, (task * planes + index) % d.outputs);
            let first = image * d.outputs * d.taps() + o * d.output_step;
            exec.run(SumPlane { maps: &maps[first * d.plane()..], y, d });
        }
    })
}

/// One output plane; `maps` starts at its first map.
struct SumPlane<'a, T> {
    maps: &'a [T],
    y: &'a mut [T],
    d: &'a Dims,
}

impl<T: Real> Task for SumPlane<'_, T> {
    type Out = ();

    #[inline(always)]
    fn run<I: Isa>(self) {
        let (d, lanes, (rows, columns), (kh, kw)) = (self.d, V::<T, I>::LANES, self.d.out, self.d.kernel);
        let step = d.map_step * d.plane();
        for i in 0..rows {
            let taps = tap_range(i * d.stride.0, kh, d.size.0);
            let y_row = &mut self.y[i * columns..][..columns];
            let mut j = 0;
            while j < columns {
                let mut sum = V::<T, I>::zero();
                for p in taps.start..taps.end {
                    let row = (i * d.stride.0 + p - kh / 2) * d.size.1;
                    for q in 0..kw {
                        let plane = &self.maps[(p * kw + q) * step..][..d.plane()];
                        let start = (j * d.stride.1 + q) as isize - (kw / 2) as isize;
                        sum = sum + load_columns::<T, I>(plane, row, start, d); // (F1) (F2)
                    }
                }
                let n = (columns - j).min(lanes);
                sum.store_partial(&mut y_row[j..], n);
                j += n;
            }
        }
    }
}

/// Taps p for which row `i + p − ⌊kernel/2⌋` lies in the image.
fn tap_range(i: usize, kernel: usize, len: usize) -> Range<usize> {
    let centre = kernel / 2;
    centre.saturating_sub(i)..kernel.min((len + centre).saturating_sub(i))
}

/// Columns start, start + sw, … of the row at `row`, zeros outside.
#[inline(always)]
fn load_columns<T: Real, I: Isa>(plane: &[T], row: usize, start: isize, d: &Dims) -> V<T, I> {
    let (lanes, width) = (V::<T, I>::LANES, d.size.1);
    if d.stride.1 == 1 && start >= 0 {
        let left = width.saturating_sub(start as usize);
        return if left >= lanes {
            V::<T, I>::load(&plane[row + start as usize..])
        } else {
            V::<T, I>::load_partial(&plane[row + width - left..], left)
        };
    }
    let outside = start.min(0).unsigned_abs();
    if d.stride.1 == 1 && outside <= row && row - outside + lanes <= plane.len() {
        // The elements before the row end the one above it; they are dropped.
        let loaded = V::<T, I>::load(&plane[row - outside..]).keep((width + outside).min(lanes), V::<T, I>::zero());
        return V::<T, I>::zero().keep(outside.min(lanes), loaded);
    }
    V::<T, I>::load(&gather(&plane[row..][..width], start, d.stride.1))
}

/// Elements start, start + step, … of a row, zeros outside.
#[inline(never)]
fn gather<T: Real>(row: &[T], start: isize, step: usize) -> [T; MAX_LANES] {
    let mut values = [T::ZERO; MAX_LANES];
    let first = start.min(0).unsigned_abs().div_ceil(step);
    let column = start.wrapping_add_unsigned(first.saturating_mul(step));
    if let Some(row) = usize::try_from(column).ok().and_then(|column| row.get(column..)) {
        for (value, &x) in values.iter_mut().skip(first).zip(row.iter().step_by(step)) {
            *value = x;
        }
    }
    values
}

pub fn backward<T: Real>(dy: &[T], dmaps: &mut [T], d: &Dims, exec: &Exec) -> Result<(), Error> {
    require_len("dy", dy, d.y_len)?;
    require_len("dmaps", dmaps, d.maps_len)?;
    if d.maps_len == 0 {
        return Ok(());
    }
    let (y_plane, planes) = (d.out.0 * d.out.1, Exec::batch(d.plane() / 2));
    let tasks = dmaps.chunks_mut(planes * d.plane()).enumerate();
    exec.for_each(d.maps_len / 2, tasks, |(task, dmaps)| {
        for (index, dmap) in dmaps.chunks_exact_mut(d.plane()).enumerate() {
            let (image, rest) =
                ((task * planes + index) / (d.outputs * d.taps()), (task * planes + index) % (d.outputs * d.taps()));
            let (m, o) = ((rest / d.map_step) % d.taps(), (rest / d.output_step) % d.outputs);
            let dy = &dy[(image * d.outputs + o) * y_plane..][..y_plane];
            spread_plane(dy, dmap, (m / d.kernel.1, m % d.kernel.1), d);
        }
    })
}

/// dmap[a, b] = dy[i, j] where tap (p, q) of output (i, j) reads (a, b), zeros elsewhere.    (B1) (B2)
fn spread_plane<T: Real>(dy: &[T], dmap: &mut [T], (p, q): (usize, usize), d: &Dims) {
    let (sources, lefts) = (d.kernel.0 / 2, d.kernel.1 / 2);
    // Outputs j whose column j·sw + q − cw lies in the image.
    let first = lefts.saturating_sub(q).div_ceil(d.stride.1);
    let end = (d.size.1 + lefts).saturating_sub(q).div_ceil(d.stride.1).clamp(first, d.out.1.max(first));
    for (a, row) in dmap.chunks_exact_mut(d.size.1).enumerate() {
        row.fill(T::ZERO);
        let (i, off_grid) = ((a + sources).wrapping_sub(p) / d.stride.0, (a + sources).wrapping_sub(p) % d.stride.0);
        if a + sources < p || off_grid != 0 || i >= d.out.0 || first >= end {
            continue;
        }
        let (dy_row, start) = (&dy[i * d.out.1..][first..end], first * d.stride.1 + q - lefts);
        if d.stride.1 == 1 {
            row[start..start + dy_row.len()].copy_from_slice(dy_row);
        } else {
            for (&g, x) in dy_row.iter().zip(row[start..].iter_mut().step_by(d.stride.1)) {
                *x = g;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{each_exec, grid, random, unwritten};

    type Pair = (usize, usize);

    /// The sums written as loops; integers and their halves are exact, so results must be equal.
    fn naive<T: Real>(
        maps: &[T],
        dy: &[T],
        [images, outputs]: [usize; 2],
        (h, w): Pair,
        k: Pair,
        s: Pair,
    ) -> [Vec<T>; 2] {
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
        assert!(
            Dims::new(&[1, 8, 2, 3, 3], (3, 3), (1, 1)).is_err() && Dims::new(&[9, 2, 3, 3], (3, 3), (1, 1)).is_err()
        );
        assert!(Dims::new(&[1, 9, 2, 3, 3], (3, 3), (0, 1)).is_err());
        assert!(Dims::new(&[usize::MAX, 9, 2, 3, 3], (3, 3), (1, 1)).is_err());
    }
}
