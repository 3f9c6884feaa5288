//! Depthwise convolution for every kernel, stride and dilation, and where padding must not meet what is not finite: row by row on padded
//! planes whose columns are ordered by phase.

use crate::conv2d::{Dims, Order};
use crate::error::Error;
use crate::exec::{Exec, zeros};
use crate::lanes::{self, Isa, MAX_LANES, Task, V, Vector};
use crate::planes::product;
use crate::real::Real;

/// Elements of a padded plane.
pub fn padded_len(d: &Dims) -> Result<usize, Error> {
    product(&[d.size.0 + 2 * d.padding.0, Order::new(d).len()])
}

/// Where the pixels begin that tap (p, q) reads for row i of y.
fn start(i: usize, p: usize, q: usize, order: &Order, d: &Dims) -> usize {
    (i * d.stride.0 + p * d.dilation.0) * order.len() + order.tap(q * d.dilation.1)
}

/// Plane x into `padded`, whose border is zero already.                                                                            (F1)
fn pad<T: Real>(x: &[T], padded: &mut [T], order: &Order, d: &Dims) {
    if d.size.1 > 0 {
        let rows = padded.chunks_exact_mut(order.len()).skip(d.padding.0);
        for (row, x) in rows.zip(x.chunks_exact(d.size.1)) {
            order.pad(x, row);
        }
    }
}

pub fn forward<T: Real>(
    x: &[T],
    weight: &[T],
    bias: Option<&[T]>,
    y: &mut [T],
    d: &Dims,
    exec: &Exec,
) -> Result<(), Error> {
    let (plane, in_plane, each) = (d.out_size.0 * d.out_size.1, d.size.0 * d.size.1, d.outputs / d.groups);
    let (order, len) = (Order::new(d), padded_len(d)?);
    let tasks = y.chunks_mut(plane).enumerate();
    exec.for_each_with(
        d.images * d.outputs * plane * (1 + d.taps() / 8),
        tasks,
        || zeros(len),
        |padded, (at, y)| {
            let (n, o) = (at / d.outputs, at % d.outputs);
            pad(&x[(n * d.inputs + o / each) * in_plane..][..in_plane], padded, &order, d);
            let (weight, bias) = (&weight[o * d.taps()..][..d.taps()], bias.map(|bias| bias[o]));
            exec.run(Plane { padded, weight, bias, y, order, d });
        },
    )
}

struct Plane<'a, T> {
    padded: &'a [T],
    weight: &'a [T],
    bias: Option<T>,
    y: &'a mut [T],
    order: Order,
    d: &'a Dims,
}

impl<T: Real> Task for Plane<'_, T> {
    type Out = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        let (d, lanes, bias) = (self.d, V::<T, I>::LANES, self.bias.unwrap_or(T::ZERO));
        for (i, y) in self.y.chunks_exact_mut(d.out_size.1).enumerate() {
            for j in (0..y.len()).step_by(lanes) {
                let n = lanes.min(y.len() - j);
                let mut sum = V::<T, I>::zero();
                for q in 0..d.kernel.1 {
                    for p in 0..d.kernel.0 {
                        let x = &self.padded[start(i, p, q, &self.order, d) + j..];
                        sum = V::<T, I>::splat(self.weight[p * d.kernel.1 + q])
                            .mul_add(V::<T, I>::load_partial(x, n), sum); // (F3)
                    }
                }
                if self.bias.is_some() {
                    sum = sum + V::<T, I>::splat(bias); // (F4)
                }
                sum.store_partial(&mut y[j..], n);
            }
        }
    }
}

pub fn input_gradient<T: Real>(dy: &[T], weight: &[T], dx: &mut [T], d: &Dims, exec: &Exec) -> Result<(), Error> {
    let (plane, in_plane, each) = (d.out_size.0 * d.out_size.1, d.size.0 * d.size.1, d.outputs / d.groups);
    if dx.is_empty() {
        return Ok(());
    }
    let (order, len) = (Order::new(d), padded_len(d)?);
    let tasks = dx.chunks_mut(in_plane).enumerate();
    exec.for_each_with(
        d.images * d.outputs * plane * (1 + d.taps() / 8),
        tasks,
        || zeros(len),
        |padded, (at, dx)| {
            let (n, c) = (at / d.inputs, at % d.inputs);
            padded.fill(T::ZERO);
            for o in c * each..(c + 1) * each {
                let dy = &dy[(n * d.outputs + o) * plane..][..plane];
                exec.run(Scatter { dy, weight: &weight[o * d.taps()..][..d.taps()], padded, order, d });
            }
            let rows = padded.chunks_exact(order.len()).skip(d.padding.0);
            for (dx, row) in dx.chunks_exact_mut(d.size.1).zip(rows) {
                order.crop(row, dx); // (B4)
            }
        },
    )
}

struct Scatter<'a, T> {
    dy: &'a [T],
    weight: &'a [T],
    padded: &'a mut [T],
    order: Order,
    d: &'a Dims,
}

impl<T: Real> Task for Scatter<'_, T> {
    type Out = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        let d = self.d;
        for (i, dy) in self.dy.chunks_exact(d.out_size.1).enumerate() {
            for p in 0..d.kernel.0 {
                for q in 0..d.kernel.1 {
                    let at = start(i, p, q, &self.order, d);
                    lanes::axpy::<T, I>(self.weight[p * d.kernel.1 + q], dy, &mut self.padded[at..at + dy.len()]); // (B3)
                }
            }
        }
    }
}

pub fn weight_gradient<T: Real>(dy: &[T], x: &[T], dweight: &mut [T], d: &Dims, exec: &Exec) -> Result<(), Error> {
    let plane = d.out_size.0 * d.out_size.1;
    let len = padded_len(d)?;
    let tasks = dweight.chunks_mut(d.taps()).enumerate();
    exec.for_each_with(
        d.images * d.outputs * plane * (1 + d.taps() / 4),
        tasks,
        || zeros(len),
        |padded, (o, dweight)| {
            channel(dy, x, dweight, o, padded, d, exec);
        },
    )
}

/// dweight of output channel o; `padded` is work space of [`padded_len`] elements.
pub fn channel<T: Real>(dy: &[T], x: &[T], dweight: &mut [T], o: usize, padded: &mut [T], d: &Dims, exec: &Exec) {
    let (plane, in_plane, each) = (d.out_size.0 * d.out_size.1, d.size.0 * d.size.1, d.outputs / d.groups);
    let order = Order::new(d);
    dweight.fill(T::ZERO);
    for n in 0..d.images {
        pad(&x[(n * d.inputs + o / each) * in_plane..][..in_plane], padded, &order, d);
        exec.run(Taps { dy: &dy[(n * d.outputs + o) * plane..][..plane], padded, dweight, order, d });
    }
}

struct Taps<'a, T> {
    dy: &'a [T],
    padded: &'a [T],
    dweight: &'a mut [T],
    order: Order,
    d: &'a Dims,
}

impl<T: Real> Task for Taps<'_, T> {
    type Out = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        let (d, lanes) = (self.d, V::<T, I>::LANES);
        for p in 0..d.kernel.0 {
            for q in 0..d.kernel.1 {
                let mut totals = [T::ZERO; MAX_LANES];
                for part in 0..MAX_LANES / lanes {
                    let mut sum = V::<T, I>::zero();
                    for (i, dy) in self.dy.chunks_exact(d.out_size.1).enumerate() {
                        let x = &self.padded[start(i, p, q, &self.order, d)..][..dy.len()];
                        let mut j = part * lanes;
                        while j < dy.len() {
                            let n = lanes.min(dy.len() - j);
                            sum =
                                V::<T, I>::load_partial(&dy[j..], n).mul_add(V::<T, I>::load_partial(&x[j..], n), sum); // (B2)
                            j += MAX_LANES;
                        }
                    }
                    sum.store(&mut totals[part * lanes..]);
                }
                self.dweight[p * d.kernel.1 + q] += halve(totals);
            }
        }
    }
}

/// The sum of the lanes: lane l meets lane l + 8 first, then l + 4, …
pub fn halve<T: Real>(mut lanes: [T; MAX_LANES]) -> T {
    let mut half = MAX_LANES / 2;
    while half > 0 {
        for l in 0..half {
            lanes[l] += lanes[l + half];
        }
        half /= 2;
    }
    lanes[0]
}
