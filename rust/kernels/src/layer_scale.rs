//! Layer scale: every channel times a learnt factor of its own, on an array seen as (outer, C, inner).
//!
//! Shapes       x (any), axis with C channels, gamma (C,) -> y, the shape of x
//! Forward      (F1) y = gamma·x, gamma along `axis`
//! Backward     (B1) dx = gamma·dy    (B2) dgamma = Σ dy·x over all axes but `axis`
//! Constraints  (C1) axis is an axis of x    (C2) gamma is (C,)

use crate::error::{Error, require};
use crate::exec::{Exec, zeros};
use crate::lanes::{Isa, Task, V, Vector};
use crate::planes::{product, require_len};
use crate::real::Real;
use crate::sums::{self, Pairwise, Products};

/// Elements of a task.
const PART: usize = 1 << 14;

/// Rows of channels that are added in one chain.
const CHAIN: usize = 128;

#[derive(Clone, Copy, Debug)]
pub struct Dims {
    outer: usize,
    channels: usize,
    inner: usize,
}

impl Dims {
    pub fn new(x: &[usize], gamma: &[usize], axis: isize) -> Result<Dims, Error> {
        let place = if axis < 0 { axis.checked_add_unsigned(x.len()) } else { Some(axis) };
        let place = place.and_then(|place| usize::try_from(place).ok()).filter(|&place| place < x.len());
        let place =
            place.ok_or_else(|| Error::Shape(format!("(C1) axis: an axis of shape {x:?} expected, got {axis}")))?;
        require(gamma == [x[place]], || format!("(C2) gamma: ({},) expected, got shape {gamma:?}", x[place]))?;
        product(x)?;
        Ok(Dims { outer: product(&x[..place])?, channels: x[place], inner: product(&x[place + 1..])? })
    }

    /// Samples with a factor each.
    pub(crate) fn of_rows(rows: usize, inner: usize) -> Dims {
        Dims { outer: 1, channels: rows, inner }
    }

    fn len(&self) -> usize {
        self.outer * self.channels * self.inner
    }
}

/// y = gamma·x; also dx from dy.
pub fn forward<T: Real>(x: &[T], gamma: &[T], y: &mut [T], d: &Dims, exec: &Exec) -> Result<(), Error> {
    require_len("x", x, d.len())?;
    require_len("gamma", gamma, d.channels)?;
    require_len("y", y, d.len())?;
    if y.is_empty() {
        return Ok(());
    }
    if d.inner == 1 {
        let rows = (PART / d.channels).max(1) * d.channels;
        let tasks = y.chunks_mut(rows).zip(x.chunks(rows));
        return exec.for_each(d.len() / 2, tasks, |(y, x)| exec.run(Rows { x, gamma, y }));
    }
    // Whole planes, several of them if they are small.
    let planes = (PART / d.inner).max(1);
    let tasks = y.chunks_mut(planes * d.inner).zip(x.chunks(planes * d.inner)).enumerate();
    exec.for_each(d.len() / 2, tasks, |(at, (y, x))| {
        exec.run(Planes { x, gamma, y, first: at * planes, inner: d.inner })
    })
}

struct Rows<'a, T> {
    x: &'a [T],
    gamma: &'a [T],
    y: &'a mut [T],
}

impl<T: Real> Task for Rows<'_, T> {
    type Out = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        let (lanes, channels) = (V::<T, I>::LANES, self.gamma.len());
        for (y, x) in self.y.chunks_exact_mut(channels).zip(self.x.chunks_exact(channels)) {
            let mut k = 0;
            while k < channels {
                let n = lanes.min(channels - k);
                let v = V::<T, I>::load_partial(&self.gamma[k..], n) * V::<T, I>::load_partial(&x[k..], n); // (F1)
                v.store_partial(&mut y[k..], n);
                k += n;
            }
        }
    }
}

struct Planes<'a, T> {
    x: &'a [T],
    gamma: &'a [T],
    y: &'a mut [T],
    first: usize,
    inner: usize,
}

impl<T: Real> Task for Planes<'_, T> {
    type Out = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        let lanes = V::<T, I>::LANES;
        for (at, (y, x)) in self.y.chunks_exact_mut(self.inner).zip(self.x.chunks_exact(self.inner)).enumerate() {
            let gamma = V::<T, I>::splat(self.gamma[(self.first + at) % self.gamma.len()]);
            let mut k = 0;
            while k + lanes <= y.len() {
                (gamma * V::<T, I>::load(&x[k..])).store(&mut y[k..]); // (F1)
                k += lanes;
            }
            let n = y.len() - k;
            (gamma * V::<T, I>::load_partial(&x[k..], n)).store_partial(&mut y[k..], n);
        }
    }
}

pub fn backward<T: Real>(
    dy: &[T],
    x: &[T],
    gamma: &[T],
    dx: &mut [T],
    dgamma: &mut [T],
    d: &Dims,
    exec: &Exec,
) -> Result<(), Error> {
    require_len("x", x, d.len())?;
    require_len("dgamma", dgamma, d.channels)?;
    forward(dy, gamma, dx, d, exec)?; // (B1)
    if d.len() == 0 {
        dgamma.fill(T::ZERO);
        return Ok(());
    }
    if d.inner == 1 {
        let rows = CHAIN * d.channels;
        let mut parts = zeros(d.outer.div_ceil(CHAIN) * d.channels)?;
        let tasks = parts.chunks_mut(d.channels).zip(dy.chunks(rows).zip(x.chunks(rows)));
        exec.for_each(d.len(), tasks, |(sum, (dy, x))| exec.run(Chain { dy, x, sum }))?;
        return sums::columns(&parts, d.outer.div_ceil(CHAIN), d.channels, dgamma, exec);
    }
    let each = Exec::batch(d.outer * d.inner);
    exec.for_each(d.len(), dgamma.chunks_mut(each).enumerate(), |(at, dgamma)| {
        for (k, dgamma) in dgamma.iter_mut().enumerate() {
            *dgamma = exec.run(Channel { dy, x, c: at * each + k, d }); // (B2)
        }
    })
}

/// sum = Σ dy·x over the rows of a chain.
struct Chain<'a, T> {
    dy: &'a [T],
    x: &'a [T],
    sum: &'a mut [T],
}

impl<T: Real> Task for Chain<'_, T> {
    type Out = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        let (lanes, channels) = (V::<T, I>::LANES, self.sum.len());
        let mut k = 0;
        while k < channels {
            let n = lanes.min(channels - k);
            let mut sum = V::<T, I>::zero();
            for (dy, x) in self.dy.chunks_exact(channels).zip(self.x.chunks_exact(channels)) {
                sum = V::<T, I>::load_partial(&dy[k..], n).mul_add(V::<T, I>::load_partial(&x[k..], n), sum); // (B2)
            }
            sum.store_partial(&mut self.sum[k..], n);
            k += n;
        }
    }
}

struct Channel<'a, T> {
    dy: &'a [T],
    x: &'a [T],
    c: usize,
    d: &'a Dims,
}

impl<T: Real> Task for Channel<'_, T> {
    type Out = T;
    #[inline(always)]
    fn run<I: Isa>(self) -> T {
        let mut sum = Pairwise::default();
        for o in 0..self.d.outer {
            let plane = (o * self.d.channels + self.c) * self.d.inner..;
            let (dy, x) = (&self.dy[plane.clone()][..self.d.inner], &self.x[plane][..self.d.inner]);
            sums::add::<T, I, Products<T>>(&Products { dy, x, m: T::ZERO, r: T::ONE }, self.d.inner, &mut sum);
        }
        sum.total()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{difference, each_exec, grid, random, unwritten};

    #[test]
    fn literal_loops() {
        for (outer, channels, inner) in grid([3, 5, 4]).chain([(300, 35, 1), (2, 3, 9000), (3, 17, 33), (1, 20_000, 1)])
        {
            let shape = [outer, channels, inner];
            let len = outer * channels * inner;
            let (x, gamma, dy) = (random::<f64>(len, 1), random::<f64>(channels, 2), random::<f64>(len, 3));
            let (mut y, mut dx, mut dgamma) = (vec![0.0; len], vec![0.0; len], vec![0.0; channels]);
            for k in 0..len {
                let c = k / inner % channels;
                y[k] = gamma[c] * x[k];
                dx[k] = gamma[c] * dy[k];
                dgamma[c] += dy[k] * x[k];
            }
            for axis in [1, -2] {
                let d = Dims::new(&shape, &[channels], axis).unwrap();
                each_exec(|exec| {
                    let (mut y1, mut dx1, mut dgamma1) = (unwritten(len), unwritten(len), unwritten(channels));
                    forward(&x, &gamma, &mut y1, &d, exec).unwrap();
                    backward(&dy, &x, &gamma, &mut dx1, &mut dgamma1, &d, exec).unwrap();
                    assert_eq!((&y1, &dx1), (&y, &dx), "{shape:?}");
                    assert!(difference(&dgamma1, &dgamma) < 1e-12, "{shape:?}");
                });
            }
        }
    }

    #[test]
    fn errors() {
        assert!(Dims::new(&[2, 3], &[3], 2).is_err() && Dims::new(&[2, 3], &[3], -3).is_err());
        assert!(Dims::new(&[2, 3], &[2], 1).is_err() && Dims::new(&[], &[1], 0).is_err());
        assert!(Dims::new(&[0, usize::MAX, 3], &[usize::MAX], 1).is_err());
    }
}
