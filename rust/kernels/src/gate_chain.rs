//! The chain of gates of gnConv: a narrow vector at every pixel, multiplied and widened time after time.
//!
//! Shapes       p0 (N, C₀, H, W), filtered (N, (2ⁿ−1)·C₀, H, W) -> y (N, C, H, W), u (N, (2ⁿ−2)·C₀, H, W); C_k = 2ᵏ·C₀, C = C_{n−1}
//!              weight: W₁, …, W_{n−1} one after another, W_k (C_k, C_{k−1}); bias: b₁, …, b_{n−1}
//! Forward      (F1) u₀ = p₀, u_k = W_k p_k + b_k    (F2) p_{k+1} = scale·f_k·u_k    (F3) y = p_n
//! Backward     (B1) df_k = scale·dp_{k+1}·u_k    (B2) du_k = scale·dp_{k+1}·f_k
//!              (B3) dW_k = Σ du_k p_kᵀ, db_k = Σ du_k, dp_k = W_kᵀ du_k    (B4) dp₀ = du₀
//! Constraints  (C1) order ≤ 30    (C2) C₀ ≥ 1    (C3) filtered is (N, (2ⁿ−1)·C₀, H, W)    (C4) (C5) sizes of weight and bias
//!              (C6) scale is checked by the caller
//!
//! Forward: a task takes some pixels through the whole chain; the p_k live in its work space, laid out as panels of a matrix product.

mod backward;
mod gate;
#[cfg(test)]
mod tests;

use std::ops::Range;

use crate::error::{Error, require};
use crate::exec::{Exec, zeros};
use crate::gemm::{Ahead, DEPTH, MAX_ROWS, Onto, PANEL, PITCH, Panels, Share, Tiles, even, tile_rows};
use crate::planes::{product, require_len};
use crate::real::Real;

pub use backward::{Gradients, backward};
pub(crate) use backward::{backward_in, gated, work_space};
use gate::{Gate, To};

/// Most pixels of a task.
const MOST_COLUMNS: usize = 512;

#[derive(Clone, Copy, Debug)]
pub struct Dims {
    pub(crate) images: usize,
    /// C₀
    pub(crate) first: usize,
    pub(crate) order: usize,
    pub(crate) size: (usize, usize),
}

impl Dims {
    pub fn new(
        p0: &[usize],
        filtered: &[usize],
        weight: Option<&[usize]>,
        bias: Option<&[usize]>,
        order: usize,
    ) -> Result<Dims, Error> {
        require((1..=30).contains(&order), || format!("(C1) order: 1 to 30 expected, got {order}"))?;
        let &[images, first, height, width] = p0 else {
            return Err(Error::Shape(format!("(C2) p0: (N, C0, H, W) expected, got shape {p0:?}")));
        };
        require(first > 0, || format!("(C2) p0: at least one channel expected, got shape {p0:?}"))?;
        product(&[images, 1 << order, first, height, width])?;
        let gates = [images, ((1 << order) - 1) * first, height, width];
        require(filtered == gates, || format!("(C3) filtered: shape {gates:?} expected, got {filtered:?}"))?;
        let d = Dims { images, first, order, size: (height, width) };
        let entries = (1..order).try_fold(0, |sum, k| product(&[d.width(k), d.width(k - 1)]).map(|n| sum + n))?;
        require(weight.map_or(order == 1, |weight| weight == [entries]), || {
            format!("(C4) weight: ({entries},) expected, got shape {weight:?}")
        })?;
        let values = d.projected();
        require(bias.is_none_or(|bias| bias == [values]), || {
            format!("(C5) bias: ({values},) expected, got shape {bias:?}")
        })?;
        Ok(d)
    }

    /// C_k, the channels of f_k, u_k and p_{k+1}.
    pub(crate) fn width(&self, k: usize) -> usize {
        self.first << k
    }

    /// Channels of the gates before f_k.
    pub(crate) fn before(&self, k: usize) -> usize {
        self.first * ((1 << k) - 1)
    }

    /// Channels of u_1, …, u_{k-1}.
    pub(crate) fn row(&self, k: usize) -> usize {
        self.first * ((1 << k) - 2)
    }

    /// Channels of u.
    pub(crate) fn projected(&self) -> usize {
        self.row(self.order)
    }

    /// Channels of filtered.
    pub(crate) fn gates(&self) -> usize {
        self.before(self.order)
    }

    pub(crate) fn pixels(&self) -> usize {
        self.size.0 * self.size.1
    }

    /// Where W_k and b_k lie in the packed arrays.
    pub(crate) fn packed(&self, k: usize) -> (Range<usize>, Range<usize>) {
        let start = (1..k).map(|m| self.width(m) * self.width(m - 1)).sum::<usize>();
        (start..start + self.width(k) * self.width(k - 1), self.row(k)..self.row(k) + self.width(k))
    }

    /// Shape of y.
    pub fn output(&self) -> [usize; 4] {
        [self.images, self.width(self.order - 1), self.size.0, self.size.1]
    }

    /// Shape of u.
    pub fn saved(&self) -> [usize; 4] {
        [self.images, self.projected(), self.size.0, self.size.1]
    }

    pub(crate) fn check<T>(&self, a: &Arguments<T>, y: &[T], u: &[T]) -> Result<(), Error> {
        require_len("y", y, self.images * self.pixels() * self.width(self.order - 1))?;
        self.check_inputs(a, u)
    }

    pub(crate) fn check_inputs<T>(&self, a: &Arguments<T>, u: &[T]) -> Result<(), Error> {
        let plane = self.images * self.pixels();
        require_len("p0", a.p0, plane * self.first)?;
        require_len("filtered", a.filtered, plane * self.gates())?;
        if let Some(weight) = a.weight {
            let entries = (1..self.order).map(|k| self.packed(k).0.len()).sum();
            require_len("weight", weight, entries)?;
        }
        require(a.weight.is_some() || self.order == 1, || "(C4) weight: an array expected, got none".to_owned())?;
        if let Some(bias) = a.bias {
            require_len("bias", bias, self.projected())?;
        }
        require_len("u", u, plane * self.projected())
    }
}

/// The arrays of a call, and its scale.
#[derive(Clone, Copy)]
pub struct Arguments<'a, T> {
    pub p0: &'a [T],
    pub filtered: &'a [T],
    pub weight: Option<&'a [T]>,
    pub bias: Option<&'a [T]>,
    pub scale: T,
}

pub fn forward<T: Real>(
    arguments: &Arguments<T>,
    y: &mut [T],
    u: &mut [T],
    d: &Dims,
    exec: &Exec,
) -> Result<(), Error> {
    d.check(arguments, y, u)?;
    chain(arguments, None, y, u, d, exec)
}

/// A projection of what leaves the chain: y = weight·p_n + bias, with `rows` channels.
#[derive(Clone, Copy)]
pub(crate) struct Out<'a, T> {
    pub weight: &'a [T],
    pub bias: Option<&'a [T]>,
    pub rows: usize,
}

/// The forward pass, and a projection at its end if there is one: then p_n is never stored.
pub(crate) fn chain<T: Real>(
    arguments: &Arguments<T>,
    out: Option<Out<T>>,
    y: &mut [T],
    u: &mut [T],
    d: &Dims,
    exec: &Exec,
) -> Result<(), Error> {
    let (total, last) = (d.images * d.pixels(), d.width(d.order - 1));
    let rows = out.map_or(last, |out| out.rows);
    if total == 0 {
        return Ok(());
    }
    let columns = columns_of_task(total, last, exec);
    let depth = if out.is_some() { last } else { last / 2 };
    let space = || Ok((zeros(columns.next_multiple_of(PANEL) * depth + PANEL)?, zeros(MAX_ROWS * PITCH)?));
    let y = Share::new(y, d.images, rows, d.pixels()).by_columns(columns);
    let u = Share::new(u, d.images, d.projected(), d.pixels()).by_columns(columns);
    let cost = total * (d.gates() / 2 + last * (last + rows) / 75);
    exec.for_each_with(cost, y.zip(u), space, |(panels, a), (mut y, mut u)| {
        for k in 0..d.order {
            if k > 0 {
                let (matrix, values) = d.packed(k);
                let weight = &arguments.weight.unwrap_or_default()[matrix];
                let bias = arguments.bias.map(|bias| &bias[values]);
                project(Out { weight, bias, rows: d.width(k) }, d.width(k - 1), panels, a, &mut u, d.row(k), exec); // (F1)
            }
            let to = if out.is_none() && k + 1 == d.order { To::Map(&mut y) } else { To::Panels(panels) };
            exec.run(Gate { k, arguments, u: &mut u, to, d });
        }
        if let Some(out) = out {
            project(out, last, panels, a, &mut y, 0, exec);
        }
    })
}

/// Pixels of a task: work space of about half a megabyte, and some tasks for every thread, all alike.
fn columns_of_task(total: usize, channels: usize, exec: &Exec) -> usize {
    let (threads, panels) = (exec.threads(), total.div_ceil(PANEL));
    let fit = ((1 << 17) / channels / PANEL).clamp(1, MOST_COLUMNS / PANEL);
    let fewest = panels.div_ceil(fit).next_multiple_of(threads);
    let most = fewest.max((2 * threads).min(total / (4 * PANEL)).next_multiple_of(threads));
    // Panels that the busiest thread makes; of equals, the most tasks.
    let busiest = |parts: usize| {
        let each = panels.div_ceil(parts);
        (each * panels.div_ceil(each).div_ceil(threads), each)
    };
    let best = (fewest..=most).step_by(threads).map(busiest).min();
    best.map_or(PANEL, |(_, each)| each * PANEL)
}

/// Rows `row..` of `to` = weight·p + bias, for the pixels of a task, whose p (`depth` channels) lies in `panels`.
fn project<T: Real>(out: Out<T>, depth: usize, panels: &[T], a: &mut [T], to: &mut Share<T>, row: usize, exec: &Exec) {
    let columns = to.columns();
    let (a, _) = a.as_chunks_mut::<PITCH>();
    for block in (0..depth).step_by(DEPTH) {
        let n = DEPTH.min(depth - block);
        let mut starts = [0; MOST_COLUMNS / PANEL];
        for (i, start) in starts.iter_mut().enumerate() {
            *start = (i * depth + block) * PANEL;
        }
        let starts = &starts[..columns.len().div_ceil(PANEL)];
        for tile in even(out.rows, out.rows.div_ceil(tile_rows(exec))) {
            for (r, to) in tile.clone().zip(a.iter_mut()) {
                to[..n].copy_from_slice(&out.weight[r * depth + block..][..n]);
            }
            exec.run(Tiles {
                a: &a[..tile.len()],
                depth: n,
                b: Panels { data: panels, starts, pitch: PANEL, run: n, jump: 0 },
                c: to,
                row: row + tile.start,
                columns: columns.clone(),
                onto: if block > 0 { Onto::C } else { Onto::rows(out.bias.map(|bias| &bias[tile])) },
                next: Ahead::NOTHING,
            });
        }
    }
}
