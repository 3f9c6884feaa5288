//! dK and dx of a depthwise convolution. Lane l of 16 sums what the columns l, l + 16, … contribute to dK, at every level; the lanes are
//! combined by halving at the end.

use super::blocks::{Rows, Taps};
use super::{Wide, blocked, finish, general, images, input_gradient};
use crate::conv2d::{self, Dims, bias_gradient};
use crate::error::Error;
use crate::exec::{Buffer, Exec, zeros};
use crate::gemm::Share;
use crate::lanes::{self, Isa, MAX_LANES, Task, V, Vector};
use crate::real::{self, Real};

/// Sums in lanes for the largest kernel and two columns of taps more.
const TOTALS: usize = 9 * 11 * MAX_LANES;

pub fn weight_gradient<T: Real>(dy: &[T], x: &[T], dweight: &mut [T], d: &Dims, exec: &Exec) -> Result<(), Error> {
    if dweight.is_empty() || blocked(d).is_none() || dy.is_empty() {
        return general::weight_gradient(dy, x, dweight, d, exec);
    }
    let wide = Wide::new(d)?;
    let (taps, each) = (d.taps(), d.outputs / d.groups);
    let cost = (taps / 32 + 1) * d.images * d.out_size.0 * d.out_size.1;
    let channels = Exec::batch(cost * each);
    let tasks = dweight.chunks_mut(channels * each * taps).enumerate();
    exec.for_each_with(
        cost * d.outputs,
        tasks,
        || Space::new(&wide, d),
        |space, (at, dweight)| {
            let Space { xp, gp, totals, padded, .. } = space;
            for (k, dweight) in dweight.chunks_exact_mut(taps).enumerate() {
                let o = at * channels * each + k;
                let (x_wide, g_wide) = (&wide, &wide.of_output());
                let finite = exec.run(Channel { dy, x, o, xp, gp, totals, dweight, dx: None, x_wide, g_wide, d });
                if !finite {
                    general::channel(dy, x, dweight, o, padded, d, exec);
                }
            }
        },
    )
}

/// The wide planes of x and dy, sums for dweight in lanes, a block of rows of dx, and a padded plane.
pub struct Space<T> {
    xp: Buffer<T>,
    gp: Buffer<T>,
    totals: Buffer<T>,
    yp: Buffer<T>,
    padded: Buffer<T>,
}

impl<T: Real> Space<T> {
    fn new(wide: &Wide, d: &Dims) -> Result<Self, Error> {
        let (totals, yp) = (zeros(TOTALS)?, zeros(wide.block * wide.width)?);
        Ok(Space { xp: wide.zeros()?, gp: wide.zeros()?, totals, yp, padded: zeros(general::padded_len(d)?)? })
    }
}

/// Whether one pass over dy gives all gradients: x and dy have the same size, and zeros around dy meet no infinite weight.
fn together<T: Real>(weight: &[T], dy: &[T], d: &Dims) -> bool {
    let same = d.mirror().is_some_and(|mirror| mirror.padding == d.padding) && d.outputs == d.groups;
    same && blocked(d).is_some() && real::finite(weight) && !dy.is_empty()
}

/// dweight, dx and dbias; in one pass over dy where that is possible.
#[allow(clippy::too_many_arguments)]
pub fn backward<T: Real>(
    dy: &[T],
    x: &[T],
    weight: &[T],
    dx: &mut [T],
    dweight: &mut [T],
    dbias: Option<&mut [T]>,
    d: &Dims,
    exec: &Exec,
) -> Result<(), Error> {
    if !together(weight, dy, d) {
        if let Some(dbias) = dbias {
            bias_gradient(dy, dbias, d, exec)?; // (B1)
        }
        weight_gradient(dy, x, dweight, d, exec)?; // (B2)
        return input_gradient(dy, weight, dx, d, exec); // (B3) (B4)
    }
    let (taps, plane) = (d.taps(), d.size.0 * d.size.1);
    let cost = (taps / 16 + 2) * d.images * plane;
    let channels = Exec::batch(cost);
    let tasks = Share::new(dx, d.images, d.inputs, plane).by_rows(channels).zip(dweight.chunks_mut(channels * taps));
    let mut dbiases = dbias.into_iter().flat_map(|dbias| dbias.chunks_mut(channels));
    let tasks = tasks.map(|(dx, dweight)| (dx, dweight, dbiases.next()));
    let saved = Saved { dy, x, weight, wide: &Wide::new(d)?, d };
    let space = || Space::new(saved.wide, d);
    exec.for_each_with(cost * d.outputs, tasks, space, |space, (dx, dweight, dbias)| {
        saved.channels(space, dx, dweight, dbias, exec);
    })
}

/// The same without a bias on this thread alone, in work space that is made at the first of several calls for maps of one size.
#[allow(clippy::too_many_arguments)]
pub fn backward_in<T: Real>(
    space: &mut Option<Space<T>>,
    dy: &[T],
    x: &[T],
    weight: &[T],
    dx: &mut [T],
    dweight: &mut [T],
    d: &Dims,
    exec: &Exec,
) -> Result<(), Error> {
    if !together(weight, dy, d) {
        return conv2d::backward(dy, x, weight, dx, dweight, None, d, exec);
    }
    let wide = &Wide::new(d)?;
    let space = match space {
        Some(space) => space,
        none => none.insert(Space::new(wide, d)?),
    };
    let dx = Share::new(dx, d.images, d.inputs, d.size.0 * d.size.1);
    Saved { dy, x, weight, wide, d }.channels(space, dx, dweight, None, exec);
    Ok(())
}

/// What the backward reads.
struct Saved<'a, T> {
    dy: &'a [T],
    x: &'a [T],
    weight: &'a [T],
    wide: &'a Wide,
    d: &'a Dims,
}

impl<T: Real> Saved<'_, T> {
    /// The gradients of the channels of dx.
    fn channels(
        &self,
        space: &mut Space<T>,
        mut dx: Share<T>,
        dweight: &mut [T],
        mut dbias: Option<&mut [T]>,
        exec: &Exec,
    ) {
        let Saved { dy, x, weight, wide, d } = *self;
        let (taps, Space { xp, gp, totals, yp, padded }) = (d.taps(), space);
        for ((k, o), dweight) in dx.rows().enumerate().zip(dweight.chunks_exact_mut(taps)) {
            let mut mirrored = [T::ZERO; 81];
            let mirrored = &mut mirrored[..taps];
            mirrored.copy_from_slice(&weight[o * taps..][..taps]);
            mirrored.reverse();
            let dbias = dbias.as_mut().map(|dbias| &mut dbias[k]);
            let dx = Some(InputGradient { share: &mut dx, mirrored, yp, dbias });
            let finite = exec.run(Channel { dy, x, o, xp, gp, totals, dweight, dx, x_wide: wide, g_wide: wide, d });
            if !finite {
                general::channel(dy, x, dweight, o, padded, d, exec);
            }
        }
    }
}

/// dx of the channel, a convolution of dy with the mirrored kernel, and dbias, which is the sum of dy.
struct InputGradient<'s, 'a, T> {
    share: &'s mut Share<'a, T>,
    mirrored: &'s [T],
    yp: &'s mut [T],
    dbias: Option<&'s mut T>,
}

/// dweight of output channel o, and its dx if wanted; `false` if x is not finite there: then the zeros between images must not meet it,
/// and dweight is not made.
struct Channel<'a, 's, T> {
    dy: &'a [T],
    x: &'a [T],
    o: usize,
    xp: &'a mut [T],
    gp: &'a mut [T],
    totals: &'a mut [T],
    dweight: &'a mut [T],
    dx: Option<InputGradient<'a, 's, T>>,
    /// The layouts of x and dy in `xp` and `gp`: they differ in padding alone.
    x_wide: &'a Wide,
    g_wide: &'a Wide,
    d: &'a Dims,
}

impl<T: Real> Task for Channel<'_, '_, T> {
    type Out = bool;
    #[inline(always)]
    fn run<I: Isa>(mut self) -> bool {
        let (d, wide, k, each) = (self.d, self.x_wide, self.d.kernel.0, self.d.outputs / self.d.groups);
        let (plane, in_plane) = (d.out_size.0 * d.out_size.1, d.size.0 * d.size.1);
        let first = self.g_wide.padding.0 * wide.width + self.g_wide.padding.1;
        let mut all_finite = true;
        self.totals.fill(T::ZERO);
        let mut sum = T::ZERO;
        for group in 0..d.images.div_ceil(wide.images) {
            let images = images(group, wide, d);
            if images.len() < wide.images {
                self.gp.fill(T::ZERO); // of images that this group does not have
            }
            for (slot, n) in images.clone().enumerate() {
                let dy = &self.dy[(n * d.outputs + self.o) * plane..];
                self.g_wide.place::<T, I>(dy, d.out_size, slot, self.gp);
                if self.dx.as_ref().is_some_and(|dx| dx.dbias.is_some()) {
                    sum += lanes::sum::<T, I>(&dy[..plane]); // (B1)
                }
            }
            let columns = wide.columns(images.len(), d);
            if let Some(InputGradient { share, mirrored, yp, .. }) = &mut self.dx {
                for top in (0..d.size.0).step_by(wide.block) {
                    let x = &self.gp[top * wide.width..];
                    Rows { x, weight: mirrored, y: yp, width: wide.width, columns }.run::<I>(k, wide.block); // (B3)
                    for (slot, n) in images.clone().enumerate() {
                        let mut to = share.from_column(n * in_plane + top * d.size.1);
                        let rest = (d.size.0 - top) * d.size.1;
                        let from = &yp[slot * wide.pitch..];
                        finish::<T, I>(from, wide.width, None, wide.block, d.size.1, to.row(self.o, 0..rest)); // (B4)
                    }
                }
            }
            for (slot, n) in images.enumerate() {
                let x = &self.x[(n * d.inputs + self.o / each) * in_plane..];
                all_finite = all_finite && finite::<T, I>(&x[..in_plane]);
                if all_finite {
                    wide.place::<T, I>(x, d.size, slot, self.xp);
                }
            }
            if !all_finite {
                if self.dx.is_none() {
                    break;
                }
                continue;
            }
            for top in (0..d.out_size.0).step_by(wide.block) {
                let (x, g) = (&self.xp[top * wide.width..], &self.gp[first + top * wide.width..]);
                Taps { x, g, totals: self.totals, width: wide.width, columns }.run::<I>(k, wide.block); // (B2)
            }
        }
        if let Some(InputGradient { dbias: Some(dbias), .. }) = self.dx {
            *dbias = sum;
        }
        for p in 0..k {
            for q in 0..k {
                let mut lanes = [T::ZERO; MAX_LANES];
                lanes.copy_from_slice(&self.totals[(q * k + p) * MAX_LANES..][..MAX_LANES]);
                self.dweight[p * k + q] = general::halve(lanes); // (B2)
            }
        }
        all_finite
    }
}

/// Whether no element is infinite or NaN.
#[inline(always)]
fn finite<T: Real, I: Isa>(x: &[T]) -> bool {
    let (lanes, zero) = (V::<T, I>::LANES, V::<T, I>::zero());
    let (mut k, mut sum) = (0, zero);
    while k + lanes <= x.len() {
        sum = V::<T, I>::load(&x[k..]).mul_add(zero, sum);
        k += lanes;
    }
    sum = V::<T, I>::load_partial(&x[k..], x.len() - k).mul_add(zero, sum);
    sum.reduce_sum() == T::ZERO
}
