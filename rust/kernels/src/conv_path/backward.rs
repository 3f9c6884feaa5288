//! Backward of `conv_path`: (B1) to (B5), for one channel e of all heads at a time.

use super::{Arguments, Dims, Mixer};
use crate::error::Error;
use crate::exec::{Buffer, Exec, zeros};
use crate::lanes::MAX_LANES;
use crate::pieces::{pieces, reserved};
use crate::planes::require_len;
use crate::real::Real;
use crate::shift_conv::group::{Adjoint, Scratch, Total};
use crate::tap_sum::{TapDots, TapSums, Taps, fold, pack};

type Pair = (usize, usize);

/// Elements in which the dot products of (B3) pass over all maps and projections: so many of each fit the first cache.
const STRIP: usize = 256;

pub fn backward<T: Real>(
    dy: &[T],
    arguments: &Arguments<&[T]>,
    gradients: Arguments<&mut [T]>,
    d: &Dims,
    exec: &Exec,
) -> Result<(), Error> {
    backward_onto(dy, T::ONE, false, arguments, gradients, d, exec)
}

/// Backward of factor·dy; with `add`, the gradients of q, k and v are added to what their arrays hold.
pub(crate) fn backward_onto<T: Real>(
    dy: &[T],
    factor: T,
    add: bool,
    arguments: &Arguments<&[T]>,
    mut gradients: Arguments<&mut [T]>,
    d: &Dims,
    exec: &Exec,
) -> Result<(), Error> {
    arguments.check(d)?;
    let (g, count, plane) = (&d.grid, d.grid.count(), d.grid.plane());
    require_len("dy", dy, d.images * d.channels() * g.out_plane())?;
    require_len("dq", gradients.q, arguments.q.len())?;
    require_len("dk", gradients.k, arguments.q.len())?;
    require_len("dv", gradients.v, arguments.q.len())?;
    require_len("dfc_weight", gradients.fc_weight, arguments.fc_weight.len())?;
    require_len("ddep_conv_weight", gradients.dep_conv_weight, arguments.dep_conv_weight.len())?;
    gradients.fc_bias.as_ref().map_or(Ok(()), |bias| require_len("dfc_bias", bias, count))?;
    gradients.dep_conv_bias.as_ref().map_or(Ok(()), |bias| require_len("ddep_conv_bias", bias, d.channels()))?;
    let tasks = d.images.max(1) * d.groups;
    // What each task contributes to (ddep_conv_weight, ddep_conv_bias) and to (dfc_weight, dfc_bias).
    let (dep_weight, fc_weight) = (d.heads * count * count, 3 * d.heads * count);
    let (dep_part, fc_part) = (dep_weight + d.heads, fc_weight + count);
    let (mut dep, mut fc) = (zeros::<T>(tasks * dep_part)?, zeros::<T>(tasks * fc_part)?);
    if !dy.is_empty() {
        let path = Path::new(d, arguments, dy, factor, add)?;
        let order = || d.planes(|n, e| d.input_channel(n, e));
        let mut dq = pieces(gradients.q, plane, plane, order())?;
        let mut dk = pieces(gradients.k, plane, plane, order())?;
        let mut dv = pieces(gradients.v, plane, plane, order())?;
        let dk_dv = dk.chunks_exact_mut(d.heads).zip(dv.chunks_exact_mut(d.heads));
        let parts = dep.chunks_exact_mut(dep_part).zip(fc.chunks_exact_mut(fc_part));
        let tasks = dq.chunks_exact_mut(d.heads).zip(dk_dv).zip(parts).enumerate();
        exec.for_each_with(
            3 * d.cost(),
            tasks,
            || path.scratch(),
            |scratch, (index, ((dq, (dk, dv)), (dep, fc)))| {
                path.run((index / d.groups, index % d.groups), [dq, dk, dv], (dep, fc), scratch, exec);
            },
        )?;
    }
    // Over the images for each group; over the groups of an image, then over the images.
    let of_images = d.groups * dep_part;
    sum_chunks(&mut dep, of_images, of_images);
    for (e, part) in dep.chunks_exact(dep_part).take(d.groups).enumerate() {
        gradients.dep_conv_weight[e * dep_weight..][..dep_weight].copy_from_slice(&part[..dep_weight]);
        if let Some(dbias) = &mut gradients.dep_conv_bias {
            dbias[e * d.heads..][..d.heads].copy_from_slice(&part[dep_weight..]);
        }
    }
    fc.chunks_exact_mut(d.groups * fc_part).for_each(|image| sum_chunks(image, fc_part, fc_part));
    sum_chunks(&mut fc, fc_part, d.groups * fc_part);
    gradients.fc_weight.copy_from_slice(&fc[..fc_weight]);
    if let Some(dbias) = &mut gradients.fc_bias {
        dbias.copy_from_slice(&fc[fc_weight..fc_part]);
    }
    Ok(())
}

/// Adds to the first `len` elements those at step, 2·step, … in order.
fn sum_chunks<T: Real>(parts: &mut [T], len: usize, step: usize) {
    let (total, others) = parts.split_at_mut(step.min(parts.len()));
    for other in others.chunks_exact(step) {
        for (sum, &x) in total[..len].iter_mut().zip(other) {
            *sum += x;
        }
    }
}

/// The backward of one task, ready to run.
struct Path<'a, T> {
    d: &'a Dims,
    mixer: Mixer<'a, T>,
    adjoint: Adjoint<'a, T>,
    dy: &'a [T],
    factor: T,
    add: bool,
    /// fc_weight transposed, packed, and where each dF[m] of a band lies.
    back: Buffer<T>,
    table: Vec<Pair>,
}

struct Work<T> {
    /// F while it is laid out, then dF.
    maps: Buffer<T>,
    group: Scratch<T>,
    fc_lanes: Buffer<T>,
}

impl<'a, T: Real> Path<'a, T> {
    fn new(d: &'a Dims, arguments: &Arguments<&'a [T]>, dy: &'a [T], factor: T, add: bool) -> Result<Self, Error> {
        let (g, taps) = (&d.grid, 3 * d.heads);
        let (mut back, mut table) = (zeros(arguments.fc_weight.len())?, reserved(g.count())?);
        pack(taps, g.count(), &mut back, |t, m| arguments.fc_weight[m * taps + t]);
        table.extend((0..g.count()).map(|m| (0, m * g.most_rows() * g.size.1)));
        let (mixer, adjoint) = (Mixer::new(arguments, d)?, Adjoint::new(g, arguments.dep_conv_weight)?);
        Ok(Path { d, mixer, adjoint, dy, factor, add, back, table })
    }

    fn scratch(&self) -> Result<Work<T>, Error> {
        let fc_lanes = zeros(self.d.grid.count() * 3 * self.d.heads * MAX_LANES)?;
        Ok(Work { maps: self.mixer.scratch()?, group: Scratch::backward(&self.d.grid)?, fc_lanes })
    }

    fn run(
        &self,
        (image, e): Pair,
        [dq, dk, dv]: [&mut [&mut [T]]; 3],
        (dep, fc): (&mut [T], &mut [T]),
        work: &mut Work<T>,
        exec: &Exec,
    ) {
        let (d, g) = (self.d, &self.d.grid);
        let (dep_weight, dep_bias) = dep.split_at_mut(d.heads * g.count() * g.count());
        let (fc_weight, fc_bias) = fc.split_at_mut(3 * d.heads * g.count());
        for band in 0..g.bands {
            self.mixer.run((image, e), band, &mut work.maps, &mut work.group, exec);
            for (n, padded) in work.group.dy.chunks_exact_mut(g.dy.len).enumerate() {
                let channel = image * d.channels() + d.output_channel(n, e);
                g.lay_dy(band, self.factor, &self.dy[channel * g.out_plane()..][..g.out_plane()], padded, exec); // (B1)
            }
            self.adjoint.add_dots(band, &mut work.group, exec); // (B2) ddep_conv_weight
            self.adjoint.add_totals(band, &work.group, dep_bias, exec); // (B2) ddep_conv_bias
            self.adjoint.run((e, band), &mut work.group, &mut work.maps, g.most_rows() * g.size.1, exec); // (B2) dF
            let own = g.own_rows(band);
            let (first, len) = (own.start * g.size.1, own.len() * g.size.1);
            let dots = TapDots {
                left: &work.maps,
                step: g.most_rows() * g.size.1,
                outputs: g.count(),
                taps: self.mixer.projections(image, e, own.start),
                len,
                strip: STRIP,
                lanes: &mut work.fc_lanes,
            };
            dots.run(exec); // (B3)
            for (&(_, start), dbias) in self.table.iter().zip(fc_bias.iter_mut()) {
                let data = &work.maps[start..][..len];
                *dbias += exec.run(Total { data, rows: 1, pitch: len, width: len }); // (B4)
            }
            let planes = dq.iter_mut().chain(dk.iter_mut()).chain(dv.iter_mut());
            let sums = TapSums {
                taps: Taps::of(&work.maps, &self.table),
                weight: &self.back,
                bias: None,
                outputs: 3 * d.heads,
                len,
                add: self.add,
            };
            sums.run(planes.map(|plane| &mut plane[first..first + len]), exec); // (B5)
        }
        self.adjoint.take_dots(&mut work.group, dep_weight);
        fold(&work.fc_lanes, fc_weight);
        work.fc_lanes.fill(T::ZERO);
    }
}
