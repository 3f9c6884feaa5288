//! Stage II of a convolution: the map of each tap is shifted by the tap's position, and all are summed.
//!
//! Shapes       maps (N, kh·kw, O, H, W) -> y (N, O, ⌈H/sh⌉, ⌈W/sw⌉); the centre tap is (ch, cw) = (⌊kh/2⌋, ⌊kw/2⌋)
//! Forward      (F1) g = Σ_pq Shift(maps[m], p−ch, q−cw), m = p·kw + q    (F2) y[i, j] = g[i·sh, j·sw]
//! Backward     (B1) dg = dy placed on the stride grid, zeros elsewhere    (B2) dmaps[m] = Shift(dg, ch−p, cw−q)
//! Constraints  (C1) maps is (N, kh·kw, O, H, W), one map per tap of kernel_size
//!
//! One pass over the maps, each pixel summed in a register in the order of the taps; `tap_sum` multiplies by one, which is exact.

use std::ops::Range;

use crate::error::{Error, require};
use crate::exec::{Exec, zeros};
use crate::pieces::reserved;
use crate::planes::{product, require_len};
use crate::real::Real;
use crate::tap_sum::{TapSums, Taps};

#[cfg(test)]
mod tests;

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
    let bands = bands(d)?;
    let mut ones = zeros(d.taps())?;
    ones.fill(T::ONE);
    let (y_plane, planes) = (d.out.0 * d.out.1, Exec::batch(d.plane() * d.taps() / 8));
    let tasks = y.chunks_mut(planes * y_plane).enumerate();
    exec.for_each(d.maps_len / 4, tasks, |(task, y)| {
        for (index, y) in y.chunks_exact_mut(y_plane).enumerate() {
            let (image, o) = ((task * planes + index) / d.outputs, (task * planes + index) % d.outputs);
            let maps = &maps[(image * d.outputs * d.taps() + o * d.output_step) * d.plane()..];
            for band in &bands {
                band.run(maps, &ones, y, d, exec); // (F1) (F2)
            }
        }
    })
}

/// Output rows that read the same kernel rows.
struct Band {
    rows: Range<usize>,
    taps: Range<usize>,
    /// With stride 1: where each tap of the first pixel lies, from the columns that read inside the image on.
    table: Vec<(usize, usize)>,
}

fn bands(d: &Dims) -> Result<Vec<Band>, Error> {
    let mut bands: Vec<Band> = Vec::new();
    for i in 0..d.out.0 {
        let taps = tap_range(i * d.stride.0, d.kernel.0, d.size.0);
        match bands.last_mut() {
            Some(band) if band.taps == taps => band.rows.end = i + 1,
            _ => {
                bands.try_reserve(1).map_err(|_| Error::OutOfMemory)?;
                bands.push(Band { rows: i..i + 1, taps, table: Vec::new() });
            }
        }
    }
    if d.stride == (1, 1) && d.size.1 >= d.kernel.1 {
        for band in &mut bands {
            let taps = band.taps.len() * d.kernel.1;
            band.table = reserved(taps)?;
            for p in band.taps.clone() {
                let row = (band.rows.start + p - d.kernel.0 / 2) * d.size.1;
                let tap = |q| (0, (p * d.kernel.1 + q) * d.map_step * d.plane() + row + q);
                band.table.extend((0..d.kernel.1).map(tap));
            }
        }
    }
    Ok(bands)
}

impl Band {
    /// Rows of one output plane; `maps` starts at its first map.
    fn run<T: Real>(&self, maps: &[T], ones: &[T], y: &mut [T], d: &Dims, exec: &Exec) {
        let (width, lefts) = (d.out.1, d.kernel.1 / 2);
        let mut inside = 0..0;
        if !self.table.is_empty() {
            // The rows as one long row, in which a column further is an element further; then the columns at the edges again.
            inside = lefts..width - (d.kernel.1 - 1 - lefts);
            let (start, end) = (self.rows.start * width + inside.start, (self.rows.end - 1) * width + inside.end);
            let (taps, weight) = (Taps::of(maps, &self.table), &ones[..self.table.len()]);
            let sums = TapSums { taps, weight, bias: None, outputs: 1, len: end - start, add: false };
            sums.run([&mut y[start..end]].into_iter(), exec);
        }
        for i in self.rows.clone() {
            let y = &mut y[i * width..][..width];
            for j in (0..inside.start).chain(inside.end..width) {
                y[j] = self.pixel(maps, (i, j), d);
            }
        }
    }

    fn pixel<T: Real>(&self, maps: &[T], (i, j): (usize, usize), d: &Dims) -> T {
        let mut sum = T::ZERO;
        for p in self.taps.clone() {
            let row = (i * d.stride.0 + p - d.kernel.0 / 2) * d.size.1;
            for q in tap_range(j * d.stride.1, d.kernel.1, d.size.1) {
                let map = (p * d.kernel.1 + q) * d.map_step * d.plane();
                sum += maps[map + row + j * d.stride.1 + q - d.kernel.1 / 2];
            }
        }
        sum
    }
}

/// Taps p for which `i + p − ⌊kernel/2⌋` lies in the image.
fn tap_range(i: usize, kernel: usize, len: usize) -> Range<usize> {
    let centre = kernel / 2;
    centre.saturating_sub(i)..kernel.min((len + centre).saturating_sub(i))
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
