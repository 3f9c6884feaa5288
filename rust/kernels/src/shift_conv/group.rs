//! Convolution of one group of maps, its adjoint and the gradient of its weights, band by band: what `shift_conv` and `conv_path` share.

use crate::error::Error;
use crate::exec::{Buffer, Exec, zeros};
use crate::lanes::{self, Isa, MAX_LANES, Task, V, Vector};
use crate::real::{Real, finite};
use crate::shift_conv::grid::{Grid, Phase};
use crate::tap_sum::{TapDots, TapSums, Taps, fold, pack};

type Pair = (usize, usize);

/// Elements of dy that stay in the first cache while all taps pass over them.
const STRIP: usize = 4096;

/// Work space of one thread.
pub struct Scratch<T> {
    pub maps: Buffer<T>,
    long_rows: Buffer<T>,
    pub dy: Buffer<T>,
    lanes: Buffer<T>,
}

impl<T: Real> Scratch<T> {
    pub fn forward(g: &Grid) -> Result<Self, Error> {
        let long_rows = zeros(g.outputs * g.long_row(&g.maps, g.rows))?;
        Ok(Scratch { maps: zeros(g.count() * g.maps.len)?, long_rows, dy: zeros(0)?, lanes: zeros(0)? })
    }

    pub fn backward(g: &Grid) -> Result<Self, Error> {
        let long_rows = zeros(g.count() * g.long_row(&g.dy, g.rows))?;
        let lanes = zeros(g.outputs * g.count() * g.count() * MAX_LANES)?;
        Ok(Scratch { maps: zeros(g.count() * g.maps.len)?, long_rows, dy: zeros(g.outputs * g.dy.len)?, lanes })
    }
}

/// The weights of all groups in the order of the inner loop.
pub struct Convolution<T> {
    grid: Grid,
    table: Vec<Pair>,
    packed: Buffer<T>,
}

impl<T: Real> Convolution<T> {
    pub fn new(grid: &Grid, weight: &[T]) -> Result<Self, Error> {
        let (table, mut packed) = (grid.taps()?, zeros(weight.len())?);
        let (taps, group) = (table.len(), grid.outputs * table.len());
        for (weight, packed) in weight.chunks_exact(group.max(1)).zip(packed.chunks_exact_mut(group.max(1))) {
            pack(grid.outputs, taps, packed, |r, t| weight[r * taps + t]);
        }
        Ok(Convolution { grid: *grid, table, packed })
    }

    /// The rows of a band of group e from the padded maps in `scratch` into the planes `y`.
    pub fn run<'o>(
        &self,
        (e, band): Pair,
        bias: Option<&[T]>,
        scratch: &mut Scratch<T>,
        y: impl Iterator<Item = &'o mut [T]>,
        exec: &Exec,
    ) {
        let (g, rows) = (&self.grid, self.grid.band(band));
        let (len, group) = (g.long_row(&g.maps, rows.len()), g.outputs * self.table.len());
        if g.outputs == 0 {
            return;
        }
        let sums = TapSums {
            taps: Taps::of(&scratch.maps, &self.table),
            weight: &self.packed[e * group..][..group],
            bias: bias.map(|bias| &bias[e * g.outputs..][..g.outputs]),
            outputs: g.outputs,
            len,
            add: false,
        };
        sums.run(scratch.long_rows.chunks_exact_mut(len), exec);
        for (y, long_row) in y.zip(scratch.long_rows.chunks_exact(len)) {
            g.crop(long_row, &mut y[rows.start * g.out.1..rows.end * g.out.1], exec);
        }
    }
}

/// The adjoint: the taps that reach each phase of input pixels, and the weights of all groups in that order.
pub struct Adjoint<'a, T> {
    grid: Grid,
    phases: Vec<Phase>,
    table: Vec<Pair>,
    forward_table: Vec<Pair>,
    packed: Buffer<T>,
    weight: &'a [T],
}

impl<'a, T: Real> Adjoint<'a, T> {
    pub fn new(grid: &Grid, weight: &'a [T]) -> Result<Self, Error> {
        let (k, maps) = (grid.kernel, grid.count());
        let (phases, table, order) = grid.adjoint_taps()?;
        let (group, mut packed) = (grid.outputs * maps * maps, zeros(weight.len())?);
        for (weight, packed) in weight.chunks_exact(group.max(1)).zip(packed.chunks_exact_mut(group.max(1))) {
            for phase in &phases {
                let order = &order[phase.taps.clone()];
                pack(maps, order.len(), &mut packed[maps * phase.taps.start..maps * phase.taps.end], |m, t| {
                    let [r, u, v] = order[t];
                    weight[((r * maps + m) * k + u) * k + v]
                });
            }
        }
        Ok(Adjoint { grid: *grid, phases, table, forward_table: grid.taps()?, packed, weight })
    }

    /// Gradients of the maps of group e at `own_rows` of a band, from the padded dy in `scratch`: map m at `dmaps[m·step..]`.
    pub fn run(&self, (e, band): Pair, scratch: &mut Scratch<T>, dmaps: &mut [T], step: usize, exec: &Exec) {
        let (g, group) = (&self.grid, self.grid.outputs * self.grid.count() * self.grid.count());
        let (len, own) = (g.long_row(&g.dy, g.band(band).len()), g.own_rows(band).len() * g.size.1);
        let weight = &self.weight[e * group..][..group];
        if !finite(weight) {
            for (m, dmap) in dmaps.chunks_mut(step).enumerate() {
                g.spread_literally(band, m, weight, &scratch.dy, &mut dmap[..own]);
            }
            return;
        }
        if g.has_gaps() {
            dmaps.chunks_mut(step).for_each(|dmap| dmap[..own].fill(T::ZERO));
        }
        for phase in &self.phases {
            let sums = TapSums {
                taps: Taps::of(&scratch.dy, &self.table[phase.taps.clone()]),
                weight: &self.packed[e * group..][g.count() * phase.taps.start..g.count() * phase.taps.end],
                bias: None,
                outputs: g.count(),
                len,
                add: false,
            };
            sums.run(scratch.long_rows.chunks_exact_mut(len), exec);
            for (dmap, long_row) in dmaps.chunks_mut(step).zip(scratch.long_rows.chunks_exact(len)) {
                g.spread(phase, long_row, &mut dmap[..own], exec);
            }
        }
    }

    /// Adds a band's part of the gradient of the weights to the partial sums in `scratch`, which holds its maps and dy, padded.
    pub fn add_dots(&self, band: usize, scratch: &mut Scratch<T>, exec: &Exec) {
        let (g, rows) = (&self.grid, self.grid.band(band).len());
        // Between the rows of dy lie zeros. They must not meet a value that is not finite: then row by row.
        let long = exec.run(Finite(&scratch.maps));
        let (parts, len) = if long { (1, g.long_row(&g.dy, rows)) } else { (rows, g.out.1) };
        for i in 0..parts {
            let dots = TapDots {
                left: &scratch.dy[g.dy_start() + i * g.dy.pitch..],
                step: g.dy.len,
                outputs: g.outputs,
                taps: Taps::of(&scratch.maps[i * g.maps.pitch..], &self.forward_table),
                len,
                strip: (STRIP / g.outputs.max(1)).next_multiple_of(MAX_LANES),
                lanes: &mut scratch.lanes,
            };
            dots.run(exec);
        }
    }

    /// Adds the sums of a band's dy, which `scratch` holds, to the gradient of the bias.
    pub fn add_totals(&self, band: usize, scratch: &Scratch<T>, dbias: &mut [T], exec: &Exec) {
        let g = &self.grid;
        for (dy, dbias) in scratch.dy.chunks_exact(g.dy.len).zip(dbias) {
            let (data, rows) = (&dy[g.dy_start()..], g.band(band).len());
            *dbias += exec.run(Total { data, rows, pitch: g.dy.pitch, width: g.out.1 });
        }
    }

    /// The gradient of the weights of a group from the partial sums, which start at zero again.
    pub fn take_dots(&self, scratch: &mut Scratch<T>, dweight: &mut [T]) {
        fold(&scratch.lanes, dweight);
        scratch.lanes.fill(T::ZERO);
    }
}

/// Σ of rows, each in 16 partial sums, the rows in order.
pub struct Total<'a, T> {
    pub data: &'a [T],
    pub rows: usize,
    pub pitch: usize,
    pub width: usize,
}

impl<T: Real> Task for Total<'_, T> {
    type Out = T;
    #[inline(always)]
    fn run<I: Isa>(self) -> T {
        let mut total = T::ZERO;
        for i in 0..self.rows {
            total += lanes::sum::<T, I>(&self.data[i * self.pitch..][..self.width]);
        }
        total
    }
}

/// No element is NaN or infinite.
struct Finite<'a, T>(&'a [T]);

impl<T: Real> Task for Finite<'_, T> {
    type Out = bool;
    #[inline(always)]
    fn run<I: Isa>(self) -> bool {
        let (lanes, mut sums, mut k) = (V::<T, I>::LANES, [V::<T, I>::zero(); 4], 0);
        while k + 4 * lanes <= self.0.len() {
            for (u, sum) in sums.iter_mut().enumerate() {
                let x = V::<T, I>::load(&self.0[k + u * lanes..]);
                *sum = x.mul_add(V::<T, I>::zero(), *sum);
            }
            k += 4 * lanes;
        }
        let total = ((sums[0] + sums[1]) + (sums[2] + sums[3])).reduce_sum();
        total == T::ZERO && self.0[k..].iter().all(|&x| x * T::ZERO == T::ZERO)
    }
}

/// total[k] = Σ parts[part, k] in the order of the parts.
pub fn add_up<'a, T: Real>(parts: impl Iterator<Item = &'a [T]>, total: &mut [T]) {
    total.fill(T::ZERO);
    for part in parts {
        for (sum, &x) in total.iter_mut().zip(part) {
            *sum += x;
        }
    }
}
