//! The backward in one pass over x and dy, and in training a second over x and dx.
//!
//! * A task takes a part of the columns (pixels counted through all images), tile by tile: da = proj1_weightᵀ·dy, then x̂, a and du row by
//!   row, then a·dyᵀ, Σ du, Σ du·x̂, Σ du·x and dx as if the statistics did not depend on x. The tasks' sums are added in order.
//! * In training de = weight·(du − Σ du/n − x̂·Σ du·x̂/n)/√(var + eps), where x̂ is linear in x. So what is missing in dx is linear in x, a small
//!   matrix for each group, and the sums for dproj0_weight follow from those above and from Σ x·x.

use std::ops::Range;

use super::fused::{FAR, Fold, centred, finite, shift};
use super::{Arguments, Dims, Gradients, parts};
use crate::error::Error;
use crate::exec::{Buffer, Exec, zeros};
use crate::gemm::{DEPTH, PANEL, PITCH, Panels, Share, Tiles, Transpose, even, pieces, tile_rows};
use crate::lanes::{self, Isa, Task, V, Vector};
use crate::real::Real;
use crate::sums;

/// Columns of a part, roughly.
const PART: usize = 1024;

/// Where a task's sums are in its part of the work space.
struct Layout {
    /// Columns of a tile.
    tile: usize,
    /// Columns of a part, a multiple of a tile's.
    part: usize,
    /// Σ dy, Σ du, Σ du·x̂, Σ du·x (E, heads), Σ x and Σ x·x (M, heads, 1 + heads); dproj1_weightᵀ (E, O) comes first.
    dy: usize,
    du: usize,
    du_hat: usize,
    du_x: usize,
    xx: usize,
    len: usize,
}

impl Layout {
    fn new(d: &Dims) -> Layout {
        let total = d.images * d.pixels();
        let tile = (32_768 / d.expanded).clamp(PANEL, DEPTH) / PANEL * PANEL;
        let part = total.div_ceil(total.div_ceil(PART)).next_multiple_of(tile);
        let dy = d.expanded * d.outputs;
        let du = dy + d.outputs;
        let (du_hat, du_x) = (du + d.expanded, du + 2 * d.expanded);
        let xx = du_x + d.expanded * d.heads;
        Layout { tile, part, dy, du, du_hat, du_x, xx, len: xx + d.channels * (1 + d.heads) }
    }
}

struct Space<T> {
    /// dy in panels of columns, and its transpose in panels of outputs.
    dy: Buffer<T>,
    turned: Buffer<T>,
    /// da and then du, a row for each expanded channel.
    du: Buffer<T>,
    a: Buffer<T>,
    /// x of a group, x̂ of a row, dx of a row.
    x: Buffer<T>,
    x_hat: Buffer<T>,
    dx: Buffer<T>,
}

pub fn backward<T: Real>(
    dy: &[T],
    a: &Arguments<&[T]>,
    (mean, var): (&[T], &[T]),
    mut g: Gradients<T>,
    d: &Dims,
    exec: &Exec,
) -> Result<(), Error> {
    let (layout, total) = (Layout::new(d), d.images * d.pixels());
    let fold = Fold::new(a, shift(a.x, d, exec)?, mean, var, d)?;
    let pass = Pass { dy, a, fold: &fold, turned: turned(a.proj1_weight, d, exec)?, layout: &layout, d };
    let count = total.div_ceil(layout.part);
    let mut found = zeros(count * layout.len)?;
    let tasks =
        Share::new(g.x, d.images, d.channels, d.pixels()).by_columns(layout.part).zip(found.chunks_mut(layout.len));
    let cost = total.saturating_mul(2 * d.expanded * d.outputs / 50 + d.expanded * (4 + d.heads / 4));
    exec.for_each_with(cost, tasks, || pass.space(), |space, (mut dx, found)| pass.run(space, &mut dx, found, exec))?;
    let mut s = zeros(layout.len)?;
    sums::columns(&found, count, layout.len, &mut s, exec)?;
    if d.training && !finite(&s) {
        return parts::backward(dy, a, (mean, var), g, d, exec); // what is infinite must meet what it meets there
    }
    let correction = finish(a, &fold, &s, &layout, &mut g, d)?;
    if d.training { correct(a.x, &fold.shift, &correction, g.x, d, exec) } else { Ok(()) }
}

/// proj1_weightᵀ in blocks of at most [`DEPTH`] outputs: rows of [`PITCH`] numbers.
fn turned<T: Real>(weight: &[T], d: &Dims, exec: &Exec) -> Result<Buffer<T>, Error> {
    let mut turned = zeros(d.outputs.div_ceil(DEPTH) * d.expanded * PITCH)?;
    for (block, to) in pieces(0..d.outputs, DEPTH).zip(turned.chunks_exact_mut(d.expanded * PITCH)) {
        let x = &weight[block.start * d.expanded..];
        exec.run(Transpose { x, x_pitch: d.expanded, rows: block.len(), columns: d.expanded, y: to, y_pitch: PITCH });
    }
    Ok(turned)
}

struct Pass<'a, T> {
    dy: &'a [T],
    a: &'a Arguments<&'a [T]>,
    fold: &'a Fold<T>,
    turned: Buffer<T>,
    layout: &'a Layout,
    d: &'a Dims,
}

impl<T: Real> Pass<'_, T> {
    fn space(&self) -> Result<Space<T>, Error> {
        let (d, tile) = (self.d, self.layout.tile);
        Ok(Space {
            dy: zeros(DEPTH * tile)?,
            turned: zeros(d.outputs.next_multiple_of(PANEL) * tile)?,
            du: zeros(d.expanded * tile)?,
            a: zeros(d.expanded * PITCH)?,
            x: zeros(d.heads * tile)?,
            x_hat: zeros(tile)?,
            dx: zeros(tile)?,
        })
    }

    fn run(&self, space: &mut Space<T>, dx: &mut Share<T>, found: &mut [T], exec: &Exec) {
        for columns in pieces(dx.columns(), self.layout.tile) {
            self.da(space, columns.clone(), exec);
            exec.run(Rows { pass: self, space, columns: columns.clone(), dx, found });
            self.product(space, columns, found, exec);
        }
    }

    /// Calls `work` with each run of some columns inside an image: where dy of output 0 begins there, the first column within the tile,
    /// and how many.
    #[inline(always)]
    fn runs(&self, columns: Range<usize>, mut work: impl FnMut(usize, usize, usize)) {
        let (mut column, pixels) = (columns.start, self.d.pixels());
        while column < columns.end {
            let (n, pixel) = (column / pixels, column % pixels);
            let len = (pixels - pixel).min(columns.end - column);
            work(n * self.d.outputs * pixels + pixel, column - columns.start, len);
            column += len;
        }
    }

    /// da = proj1_weightᵀ·dy.                                                                                                     (B1)
    fn da(&self, space: &mut Space<T>, columns: Range<usize>, exec: &Exec) {
        let (d, tile, pixels) = (self.d, self.layout.tile, self.d.pixels());
        let mut starts = [0; DEPTH / PANEL];
        let starts = &mut starts[..columns.len().div_ceil(PANEL)];
        for (block, turned) in pieces(0..d.outputs, DEPTH).zip(self.turned.chunks_exact(d.expanded * PITCH)) {
            let depth = block.len();
            for (i, start) in starts.iter_mut().enumerate() {
                *start = i * depth * PANEL;
            }
            for (k, o) in block.clone().enumerate() {
                self.runs(columns.clone(), |from, first, len| {
                    let from = &self.dy[from + o * pixels..][..len];
                    let mut done = 0;
                    while done < len {
                        let (panel, at) = ((first + done) / PANEL, (first + done) % PANEL);
                        let n = (PANEL - at).min(len - done);
                        space.dy[(panel * depth + k) * PANEL + at..][..n].copy_from_slice(&from[done..done + n]);
                        done += n;
                    }
                });
            }
            let (rows, _) = turned.as_chunks::<PITCH>();
            let mut c = Share::new(&mut space.du[..d.expanded * tile], 1, d.expanded, tile);
            for own in even(d.expanded, d.expanded.div_ceil(tile_rows(exec))) {
                exec.run(Tiles {
                    a: &rows[own.clone()],
                    depth,
                    b: Panels { data: &space.dy, starts, pitch: PANEL, run: depth, jump: 0 },
                    c: &mut c,
                    row: own.start,
                    columns: 0..columns.len(),
                    add: block.start > 0,
                    bias: None,
                });
            }
        }
    }

    /// dproj1_weightᵀ += a·dyᵀ.
    fn product(&self, space: &mut Space<T>, columns: Range<usize>, found: &mut [T], exec: &Exec) {
        let (d, tile, pixels) = (self.d, self.layout.tile, self.d.pixels());
        for (panel, outputs) in pieces(0..d.outputs, PANEL).enumerate() {
            self.runs(columns.clone(), |from, first, columns| {
                let x = &self.dy[from + outputs.start * pixels..];
                let y = &mut space.turned[(panel * tile + first) * PANEL..];
                exec.run(Transpose { x, x_pitch: pixels, rows: outputs.len(), columns, y, y_pitch: PANEL });
            });
        }
        let (rows, _) = space.a.as_chunks::<PITCH>();
        let mut c = Share::new(&mut found[..d.expanded * d.outputs], 1, d.expanded, d.outputs);
        let depth = columns.len();
        for (panel, outputs) in pieces(0..d.outputs, PANEL).enumerate() {
            for own in even(d.expanded, d.expanded.div_ceil(tile_rows(exec))) {
                exec.run(Tiles {
                    a: &rows[own.clone()],
                    depth,
                    b: Panels {
                        data: &space.turned,
                        starts: &[panel * tile * PANEL],
                        pitch: PANEL,
                        run: depth,
                        jump: 0,
                    },
                    c: &mut c,
                    row: own.start,
                    columns: outputs.clone(),
                    add: true,
                    bias: None,
                });
            }
        }
    }
}

/// Everything of a tile between the two products.
struct Rows<'a, 'b, T> {
    pass: &'a Pass<'a, T>,
    space: &'a mut Space<T>,
    columns: Range<usize>,
    dx: &'a mut Share<'b, T>,
    found: &'a mut [T],
}

impl<T: Real> Task for Rows<'_, '_, T> {
    type Out = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        let (Pass { dy, a, fold, layout, d, .. }, space, found) = (self.pass, self.space, self.found);
        let (tile, n, lanes) = (layout.tile, self.columns.len(), V::<T, I>::LANES);
        // No closure here: it would not be compiled for this instruction set.
        let mut column = self.columns.start;
        while column < self.columns.end {
            let (image, pixel, pixels) = (column / d.pixels(), column % d.pixels(), d.pixels());
            let len = (pixels - pixel).min(self.columns.end - column);
            for o in 0..d.outputs {
                let dy = &dy[(image * d.outputs + o) * pixels + pixel..][..len];
                found[layout.dy + o] += lanes::sum::<T, I>(dy);
            }
            column += len;
        }
        for group in 0..d.groups {
            centred(a.x, &fold.shift, group, self.columns.clone(), &mut space.x, tile, d);
            for r in group * d.rows()..(group + 1) * d.rows() {
                let weight = &fold.weight[r * d.heads..][..d.heads];
                let (du, act) = (&mut space.du[r * tile..][..tile], &mut space.a[r * PITCH..][..tile]);
                let (gamma, beta) = (V::<T, I>::splat(a.bn_weight[r]), V::<T, I>::splat(a.bn_bias[r]));
                let (bound, offset) = (V::<T, I>::splat(T::from_f64(-FAR)), V::<T, I>::splat(fold.offset[r]));
                let mut k = 0;
                while k < n {
                    let mut x_hat = offset;
                    for (t, &w) in weight.iter().enumerate() {
                        x_hat = V::<T, I>::splat(w).mul_add(V::<T, I>::load(&space.x[t * tile + k..]), x_hat);
                    }
                    let u = x_hat.mul_add(gamma, beta);
                    let b = lanes::within(u, FAR);
                    let (below, bell) = lanes::distribution(b);
                    x_hat.store(&mut space.x_hat[k..]);
                    (V::<T, I>::at_least(bound, u) * below).store(&mut act[k..]);
                    (V::<T, I>::load(&du[k..]) * b.mul_add(bell, below)).store(&mut du[k..]); // (B2)
                    k += lanes;
                }
                found[layout.du + r] += lanes::sum::<T, I>(&du[..n]);
                found[layout.du_hat + r] += lanes::dot::<T, I>(&du[..n], &space.x_hat[..n]);
                for t in 0..d.heads {
                    found[layout.du_x + r * d.heads + t] += lanes::dot::<T, I>(&du[..n], &space.x[t * tile..][..n]);
                }
            }
            for t in 0..d.heads {
                self.pass.input_gradient::<I>(space, group, t, n);
                let mut done = 0;
                while done < n {
                    let mut to = self.dx.from_column(self.columns.start + done);
                    let len = to.room().min(n - done);
                    to.row(t * d.groups + group, 0..len).copy_from_slice(&space.dx[done..done + len]); // (B6)
                    done += len;
                }
            }
            if d.training {
                let xx = &mut found[layout.xx + group * d.heads * (1 + d.heads)..][..d.heads * (1 + d.heads)];
                for t in 0..d.heads {
                    let x = &space.x[t * tile..][..n];
                    xx[t * (1 + d.heads)] += lanes::sum::<T, I>(x);
                    for s in 0..=t {
                        xx[t * (1 + d.heads) + 1 + s] += lanes::dot::<T, I>(x, &space.x[s * tile..][..n]);
                    }
                }
            }
        }
    }
}

impl<T: Real> Pass<'_, T> {
    /// dx = Σ_r bn_weight[r]·weight[r, t]·du[r] for head t of a group.                                                            (B5)
    #[inline(always)]
    fn input_gradient<I: Isa>(&self, space: &mut Space<T>, group: usize, t: usize, n: usize) {
        let (d, tile, lanes) = (self.d, self.layout.tile, V::<T, I>::LANES);
        let mut k = 0;
        while k < n {
            let mut sum = V::<T, I>::zero();
            for r in group * d.rows()..(group + 1) * d.rows() {
                let factor = V::<T, I>::splat(self.a.bn_weight[r] * self.fold.weight[r * d.heads + t]);
                sum = factor.mul_add(V::<T, I>::load(&space.du[r * tile + k..]), sum);
            }
            sum.store(&mut space.dx[k..]);
            k += lanes;
        }
    }
}

/// All gradients but dx from the sums. In training also what is missing in dx: for each group and head t the numbers k_t and K_ts of
/// dx_t −= k_t + Σ_s K_ts·x_s.
fn finish<T: Real>(
    a: &Arguments<&[T]>,
    fold: &Fold<T>,
    s: &[T],
    layout: &Layout,
    g: &mut Gradients<T>,
    d: &Dims,
) -> Result<Buffer<T>, Error> {
    let (heads, wide, n) = (d.heads, 1 + d.heads, T::from_usize(d.images * d.pixels()));
    let mut correction = zeros(d.channels * wide)?;
    for (o, row) in g.proj1_weight.chunks_exact_mut(d.expanded).enumerate() {
        for (r, to) in row.iter_mut().enumerate() {
            *to = s[r * d.outputs + o];
        }
    }
    g.proj1_bias.copy_from_slice(&s[layout.dy..][..d.outputs]);
    g.bn_bias.copy_from_slice(&s[layout.du..][..d.expanded]);
    g.bn_weight.copy_from_slice(&s[layout.du_hat..][..d.expanded]);
    for r in 0..d.expanded {
        let (group, scale) = (r / d.rows(), a.bn_weight[r] * fold.inverse[r]);
        let weight = &fold.weight[r * heads..][..heads];
        let (du, du_x) = (g.bn_bias[r], &s[layout.du_x + r * heads..][..heads]);
        let dw0 = &mut g.proj0_weight[r * heads..][..heads];
        if !d.training {
            g.proj0_bias[r] = scale * du; // (B4)
            for (to, &from) in dw0.iter_mut().zip(du_x) {
                *to = scale * from;
            }
            continue;
        }
        // Σ x and Σ x_t·x_s, of which t >= s is stored.
        let xx = &s[layout.xx + group * heads * wide..][..heads * wide];
        let pair = |t: usize, s: usize| xx[t.max(s) * wide + 1 + t.min(s)];
        let (mean, slope) = (du / n, g.bn_weight[r] / n);
        let mut hat = n * fold.offset[r]; // Σ x̂
        for t in 0..heads {
            hat += weight[t] * xx[t * wide];
        }
        g.proj0_bias[r] = scale * (du - mean * n - slope * hat); // (B4)
        for t in 0..heads {
            let mut hat_x = fold.offset[r] * xx[t * wide]; // Σ x̂·x
            for s in 0..heads {
                hat_x += weight[s] * pair(t, s);
            }
            dw0[t] = scale * (du_x[t] - mean * xx[t * wide] - slope * hat_x); // (B3) (B4)
            let factor = a.bn_weight[r] * weight[t];
            let to = &mut correction[(group * heads + t) * wide..][..wide];
            to[0] += factor * (mean + slope * fold.offset[r]);
            for s in 0..heads {
                to[1 + s] += factor * slope * weight[s];
            }
        }
    }
    if let Some((dmean, dvar)) = &mut g.running {
        for r in 0..d.expanded {
            let scale = fold.inverse[r] * a.bn_weight[r];
            dmean[r] = -(scale * g.bn_bias[r]);
            dvar[r] = T::from_f64(-0.5) * (fold.inverse[r] * scale * g.bn_weight[r]);
        }
    }
    Ok(correction)
}

/// dx −= k + K·(x − shift), group by group.
fn correct<T: Real>(x: &[T], shift: &[T], correction: &[T], dx: &mut [T], d: &Dims, exec: &Exec) -> Result<(), Error> {
    let pixels = d.pixels();
    let each = Exec::batch(d.channels * (1 + d.heads / 8)).next_multiple_of(PANEL);
    let images = dx.chunks_mut(d.channels * pixels).zip(x.chunks(d.channels * pixels));
    let tasks =
        images.flat_map(|(dx, x)| Share::new(dx, 1, d.channels, pixels).by_columns(each).map(move |dx| (dx, x)));
    exec.for_each(x.len() * (1 + d.heads / 8), tasks, |(dx, x)| exec.run(Correct { x, shift, correction, dx, d }))
}

struct Correct<'a, 'b, T> {
    x: &'a [T],
    shift: &'a [T],
    correction: &'a [T],
    dx: Share<'b, T>,
    d: &'a Dims,
}

impl<T: Real> Task for Correct<'_, '_, T> {
    type Out = ();
    #[inline(always)]
    fn run<I: Isa>(mut self) {
        let (d, lanes, wide, pixels) = (self.d, V::<T, I>::LANES, 1 + self.d.heads, self.d.pixels());
        let columns = self.dx.columns();
        let mut dx = self.dx.from_column(columns.start);
        for group in 0..d.groups {
            for t in 0..d.heads {
                let factors = &self.correction[(group * d.heads + t) * wide..][..wide];
                let to = dx.row(t * d.groups + group, 0..columns.len());
                let mut k = 0;
                while k < to.len() {
                    let n = lanes.min(to.len() - k);
                    let mut sum = V::<T, I>::splat(factors[0]);
                    for (s, &factor) in factors[1..].iter().enumerate() {
                        let c = s * d.groups + group;
                        let x = V::<T, I>::load_partial(&self.x[c * pixels + columns.start + k..], n);
                        sum = V::<T, I>::splat(factor).mul_add(x - V::<T, I>::splat(self.shift[c]), sum);
                    }
                    (V::<T, I>::load_partial(&to[k..], n) - sum).store_partial(&mut to[k..], n);
                    k += n;
                }
            }
        }
    }
}
