//! The shifts as convolution kernels: every group of k² maps is shifted and summed by one grouped convolution, which may learn.
//!
//! Shapes       maps (N, d, k·k, H, W), weight (O, k·k, k, k), bias (O,) -> y (N, O, ⌈H/sh⌉, ⌈W/sw⌉); group e makes outputs e·O/d …
//! Forward      (F1) fixed (no weight, O = d): y[e] = Σ_m Shift(maps[e, m], p−c, q−c), m = p·k + q, c = ⌊k/2⌋, on the stride grid
//!              (F2) learnable: y[o, i, j] = Σ_m Σ_uv weight[o, m, u, v]·maps[e, m, i·sh+u−c, j·sw+v−c] + bias[o], zeros outside
//! Backward     (B1) fixed: dmaps = the adjoint shifts    (B2) learnable: dmaps, dweight, dbias of the grouped convolution
//! Constraints  (C1) maps is (N, d, k·k, H, W), d ≥ 1    (C2) weight is (O, k·k, k, k), O a multiple of d
//!              (C3) bias is (O,) and needs weight    (C4) k is odd
//!
//! A task is one group of one image: its maps are laid out with zeros around them in the second cache, then summed over taps.

use crate::error::{Error, require};
use crate::exec::{Exec, zeros};
use crate::planes::{product, require_len};
use crate::real::Real;
use crate::shift_sum;

pub(crate) mod grid;
pub(crate) mod group;
mod rectangle;
#[cfg(test)]
mod tests;

use grid::Grid;
use group::{Adjoint, Convolution, Scratch, add_up};

type Pair = (usize, usize);

#[derive(Clone, Copy, Debug)]
pub struct Dims {
    images: usize,
    groups: usize,
    outputs: usize,
    kind: Kind,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Fixed(shift_sum::Dims),
    Learnable(Grid),
}

impl Dims {
    pub fn new(
        maps: &[usize],
        weight: Option<&[usize]>,
        bias: Option<&[usize]>,
        kernel: usize,
        stride: Pair,
    ) -> Result<Dims, Error> {
        let count = product(&[kernel, kernel])?;
        let &[images, groups, found, height, width] = maps else {
            return Err(Error::Shape(format!("(C1) maps: (N, d, k*k, H, W) expected, got shape {maps:?}")));
        };
        require(groups > 0 && found == count, || {
            format!("(C1) maps: (N, d, {count}, H, W) with d >= 1 expected, got shape {maps:?}")
        })?;
        require(kernel % 2 == 1, || format!("(C4) kernel_size: an odd number expected, got {kernel}"))?;
        require(
            bias.is_none_or(|bias| weight.is_some_and(|weight| weight.first() == bias.first() && bias.len() == 1)),
            || format!("(C3) bias: one value per output of weight expected, got shape {bias:?}, weight {weight:?}"),
        )?;
        product(maps)?;
        let Some(weight) = weight else {
            let d = shift_sum::Dims::grouped(maps, (kernel, kernel), stride)?;
            return Ok(Dims { images, groups, outputs: groups, kind: Kind::Fixed(d) });
        };
        let outputs = weight.first().copied().unwrap_or(0);
        require(weight == [outputs, count, kernel, kernel] && outputs % groups == 0, || {
            format!(
                "(C2) weight: (O, {count}, {kernel}, {kernel}), O a multiple of {groups}, expected, got shape {weight:?}"
            )
        })?;
        let grid = Grid::new(kernel, outputs / groups, (height, width), stride)?;
        product(weight)?;
        product(&[images, outputs, grid.out.0, grid.out.1])?;
        Ok(Dims { images, groups, outputs, kind: Kind::Learnable(grid) })
    }

    /// Shape of y.
    pub fn output(&self) -> [usize; 4] {
        match self.kind {
            Kind::Fixed(d) => d.output(),
            Kind::Learnable(grid) => [self.images, self.outputs, grid.out.0, grid.out.1],
        }
    }
}

pub fn forward<T: Real>(
    maps: &[T],
    weight: Option<&[T]>,
    bias: Option<&[T]>,
    y: &mut [T],
    d: &Dims,
    exec: &Exec,
) -> Result<(), Error> {
    let g = match (&d.kind, weight) {
        (Kind::Fixed(d), None) => return shift_sum::forward(maps, y, d, exec), // (F1)
        (Kind::Learnable(grid), Some(weight)) => {
            require_len("weight", weight, d.outputs * grid.count() * grid.count())?;
            grid
        }
        _ => return Err(Error::Shape("weight: present and absent in Dims and call".to_owned())),
    };
    let (group, out) = (g.count() * g.plane(), g.outputs * g.out_plane());
    require_len("maps", maps, d.images * d.groups * group)?;
    require_len("y", y, d.images * d.groups * out)?;
    bias.map_or(Ok(()), |bias| require_len("bias", bias, d.outputs))?;
    if y.is_empty() {
        return Ok(());
    }
    let convolution = Convolution::new(g, weight.unwrap_or_default())?;
    let tasks = y.chunks_exact_mut(out).zip(maps.chunks_exact(group)).enumerate();
    exec.for_each_with(
        cost(d, g),
        tasks,
        || Scratch::forward(g),
        |scratch, (index, (y, maps))| {
            for band in 0..g.bands {
                lay_maps(g, band, maps, scratch, exec);
                convolution.run((index % d.groups, band), bias, scratch, y.chunks_exact_mut(g.out_plane()), exec); // (F2)
            }
        },
    )
}

/// What the backward of one group owns and reads: (((dmaps, maps), dy), (dweight, dbias)).
type Group<'a, T> = (((&'a mut [T], &'a [T]), &'a [T]), (&'a mut [T], &'a mut [T]));

/// Gradients of maps and, for a learnable convolution, of weight and bias.
#[allow(clippy::too_many_arguments)] // dy, the three arguments and their gradients
pub fn backward<T: Real>(
    dy: &[T],
    maps: &[T],
    weight: Option<&[T]>,
    dmaps: &mut [T],
    dweight: Option<&mut [T]>,
    dbias: Option<&mut [T]>,
    d: &Dims,
    exec: &Exec,
) -> Result<(), Error> {
    let (g, weight, dweight) = match (&d.kind, weight, dweight) {
        (Kind::Fixed(d), None, None) => return shift_sum::backward(dy, dmaps, d, exec), // (B1)
        (Kind::Learnable(grid), Some(weight), Some(dweight)) => (grid, weight, dweight),
        _ => return Err(Error::Shape("weight: present and absent in Dims and call".to_owned())),
    };
    let (group, out, taps) = (g.count() * g.plane(), g.outputs * g.out_plane(), g.outputs * g.count() * g.count());
    require_len("dy", dy, d.images * d.groups * out)?;
    require_len("maps", maps, d.images * d.groups * group)?;
    require_len("dmaps", dmaps, maps.len())?;
    require_len("weight", weight, d.groups * taps)?;
    require_len("dweight", dweight, weight.len())?;
    dbias.as_ref().map_or(Ok(()), |dbias| require_len("dbias", dbias, d.outputs))?;
    // One part of each image: sums over pixels, added in the order of the images at the end.
    let (mut dweights, mut dbiases) = (zeros::<T>(d.images * weight.len())?, zeros::<T>(d.images * d.outputs)?);
    if !dy.is_empty() {
        let adjoint = Adjoint::new(g, weight)?;
        let tasks = dmaps.chunks_exact_mut(group).zip(maps.chunks_exact(group)).zip(dy.chunks_exact(out));
        let parts = dweights.chunks_exact_mut(taps).zip(dbiases.chunks_exact_mut(g.outputs));
        let work = |scratch: &mut Scratch<T>,
                    (index, (((dmaps, maps), dy), (dweight, dbias))): (usize, Group<'_, T>)| {
            for band in 0..g.bands {
                lay_maps(g, band, maps, scratch, exec);
                for (dy, padded) in dy.chunks_exact(g.out_plane()).zip(scratch.dy.chunks_exact_mut(g.dy.len)) {
                    g.lay_dy(band, T::ONE, dy, padded, exec);
                }
                adjoint.add_dots(band, scratch, exec); // (B2)
                adjoint.add_totals(band, scratch, dbias, exec); // (B2)
                let own = &mut dmaps[g.own_rows(band).start * g.size.1..];
                adjoint.run((index % d.groups, band), scratch, own, g.plane(), exec); // (B2)
            }
            adjoint.take_dots(scratch, dweight);
        };
        exec.for_each_with(2 * cost(d, g), tasks.zip(parts).enumerate(), || Scratch::backward(g), work)?;
    } else {
        dmaps.fill(T::ZERO);
    }
    add_up(dweights.chunks_exact(weight.len().max(1)), dweight);
    if let Some(dbias) = dbias {
        add_up(dbiases.chunks_exact(d.outputs.max(1)), dbias);
    }
    Ok(())
}

/// The maps of one group with zeros around a band of each.
fn lay_maps<T: Real>(g: &Grid, band: usize, maps: &[T], scratch: &mut Scratch<T>, exec: &Exec) {
    let rows = g.read_rows(band);
    for (map, padded) in maps.chunks_exact(g.plane()).zip(scratch.maps.chunks_exact_mut(g.maps.len)) {
        g.lay(band, &map[rows.start * g.size.1..rows.end * g.size.1], padded, exec);
    }
}

/// Nanoseconds of one thread, roughly.
fn cost(d: &Dims, g: &Grid) -> usize {
    let products = d.images * d.groups * g.out_plane() * g.count();
    products.saturating_mul(g.outputs * g.count()) / 16 + products
}
