//! Functions of one number: y = f(x) and dx = dy·f'(x), element by element, for every operator that is no more than that.

use crate::error::Error;
use crate::exec::Exec;
use crate::fill::Fill;
use crate::lanes::{self, Isa, Row, Task, V, Vector, is_large};
use crate::planes::require_len;
use crate::real::Real;
use crate::sums::Terms;

/// A function and its derivative on the lanes of a vector. Both are `#[inline(always)]`, without branches.
pub trait Function: Copy + Sync {
    /// Nanoseconds per element, roughly.
    const COST: usize = 1;
    fn value<A: Vector>(self, x: A) -> A;
    /// dx = dy·f'(x)
    fn gradient<A: Vector>(self, dy: A, x: A) -> A;
}

/// A function whose slope comes with its value, so that both cost little more than one; its gradient is dy times the slope.
pub trait Smooth: Function {
    fn value_and_slope<A: Vector>(self, x: A) -> (A, A);
}

/// Elements of one task.
const PART: usize = 1 << 14;

pub fn forward<T: Real, F: Function>(f: F, x: &[T], y: &mut [T], exec: &Exec) -> Result<(), Error> {
    require_len("y", y, x.len())?;
    let large = is_large(y);
    let tasks = x.chunks(PART).zip(y.chunks_mut(PART));
    exec.for_each(x.len().saturating_mul(F::COST), tasks, |(x, y)| exec.run(Fill { terms: Values { f, x }, y, large }))
}

pub fn backward<T: Real, F: Function>(f: F, dy: &[T], x: &[T], dx: &mut [T], exec: &Exec) -> Result<(), Error> {
    require_len("dy", dy, x.len())?;
    require_len("dx", dx, x.len())?;
    let large = is_large(dx);
    let tasks = dy.chunks(PART).zip(x.chunks(PART)).zip(dx.chunks_mut(PART));
    exec.for_each(x.len().saturating_mul(F::COST), tasks, |((dy, x), dx)| {
        exec.run(Fill { terms: Gradients { f, dy, x }, y: dx, large })
    })
}

/// f(x)
struct Values<'a, T, F> {
    f: F,
    x: &'a [T],
}

impl<T: Real, F: Function> Terms<T> for Values<'_, T, F> {
    #[inline(always)]
    fn load_partial<I: Isa>(&self, k: usize, n: usize) -> V<T, I> {
        self.f.value(V::<T, I>::load_partial(&self.x[k..], n))
    }
}

/// dy·f'(x)
struct Gradients<'a, T, F> {
    f: F,
    dy: &'a [T],
    x: &'a [T],
}

impl<T: Real, F: Function> Terms<T> for Gradients<'_, T, F> {
    #[inline(always)]
    fn load_partial<I: Isa>(&self, k: usize, n: usize) -> V<T, I> {
        self.f.gradient(V::<T, I>::load_partial(&self.dy[k..], n), V::<T, I>::load_partial(&self.x[k..], n))
    }
}

/// y = f(y) in place, or dy·f'(y) if dy is given.
pub struct InPlace<'a, T, F> {
    pub f: F,
    pub dy: Option<&'a [T]>,
    pub y: &'a mut [T],
    /// What is written instead of y.
    pub to: Option<Row<'a, T>>,
    /// What is read later, perhaps nothing: on the way it comes into the second cache.
    pub next: &'a [T],
}

impl<'a, T, F> InPlace<'a, T, F> {
    /// In place indeed, and asking for nothing.
    pub fn new(f: F, dy: Option<&'a [T]>, y: &'a mut [T]) -> Self {
        InPlace { f, dy, y, to: None, next: &[] }
    }
}

impl<T: Real, F: Function> Task for InPlace<'_, T, F> {
    type Out = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        if self.next.is_empty() { self.all::<I, false>() } else { self.all::<I, true>() }
    }
}

impl<T: Real, F: Function> InPlace<'_, T, F> {
    #[inline(always)]
    fn all<I: Isa, const ASK: bool>(mut self) {
        let (len, lanes) = (self.y.len(), V::<T, I>::LANES);
        let mut k = 0;
        // Two vectors at a time, as in `fill`.
        while I::REGISTERS >= 32 && k + 2 * lanes <= len {
            if ASK {
                lanes::prefetch_far(self.next, k);
                lanes::prefetch_far(self.next, k + lanes);
            }
            let (first, second) = (self.at::<I>(k, lanes), self.at::<I>(k + lanes, lanes));
            match &mut self.to {
                Some(to) => {
                    to.put::<I>(k, first);
                    to.put::<I>(k + lanes, second);
                }
                None => {
                    first.store(&mut self.y[k..]);
                    second.store(&mut self.y[k + lanes..]);
                }
            }
            k += 2 * lanes;
        }
        while k < len {
            if ASK {
                lanes::prefetch_far(self.next, k);
            }
            let n = lanes.min(len - k);
            let last = self.at::<I>(k, n);
            match &mut self.to {
                Some(to) => to.put_partial::<I>(k, n, last),
                None => last.store_partial(&mut self.y[k..], n),
            }
            k += lanes;
        }
    }

    /// The new elements k..k + n.
    #[inline(always)]
    fn at<I: Isa>(&self, k: usize, n: usize) -> V<T, I> {
        let y = V::<T, I>::load_partial(&self.y[k..], n);
        match self.dy {
            Some(dy) => self.f.gradient(V::<T, I>::load_partial(&dy[k..], n), y),
            None => self.f.value(y),
        }
    }
}

/// y = f(y) in place, and f' of what y was.
pub struct WithSlope<'a, T, F> {
    pub f: F,
    pub y: &'a mut [T],
    pub slope: &'a mut [T],
}

impl<T: Real, F: Smooth> Task for WithSlope<'_, T, F> {
    type Out = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        let lanes = V::<T, I>::LANES;
        for (y, slope) in self.y.chunks_mut(lanes).zip(self.slope.chunks_mut(lanes)) {
            let n = y.len();
            let (value, by) = self.f.value_and_slope(V::<T, I>::load_partial(y, n));
            value.store_partial(y, n);
            by.store_partial(slope, n);
        }
    }
}

/// x²/2, whose slope is x: its gradient is dy times a slope that was kept.
#[derive(Clone, Copy)]
pub struct HalfSquare;

impl Function for HalfSquare {
    #[inline(always)]
    fn value<A: Vector>(self, x: A) -> A {
        A::splat(A::Elem::from_f64(0.5)) * x * x
    }

    #[inline(always)]
    fn gradient<A: Vector>(self, dy: A, x: A) -> A {
        dy * x
    }
}

/// Checks an operator on all levels, against plain functions in f64: the value and the derivative.
#[cfg(test)]
pub fn check(f: impl Function, value: impl Fn(f64) -> f64, derivative: impl Fn(f64) -> f64) {
    check_in::<f32>(f, &value, &derivative, 2e-6);
    check_in::<f64>(f, &value, &derivative, 4e-15);
}

#[cfg(test)]
fn check_in<T: Real>(f: impl Function, value: &dyn Fn(f64) -> f64, derivative: &dyn Fn(f64) -> f64, tolerance: f64) {
    use crate::testing::{difference, each_exec, random, unwritten};
    for n in (0..36).chain([3 * PART + 5]) {
        let x: Vec<T> = random::<T>(n, 1).iter().map(|&x| x * T::from_f64(7.0)).collect();
        let dy = random::<T>(n, 2);
        let expected: Vec<T> = x.iter().map(|x| T::from_f64(value(x.to_f64()))).collect();
        let slopes = x.iter().zip(&dy).map(|(x, dy)| T::from_f64(dy.to_f64() * derivative(x.to_f64())));
        let slopes: Vec<T> = slopes.collect();
        each_exec(|exec| {
            let (mut y, mut dx) = (unwritten::<T>(n), unwritten::<T>(n));
            forward(f, &x, &mut y, exec).unwrap();
            backward(f, &dy, &x, &mut dx, exec).unwrap();
            assert!(difference(&y, &expected) < tolerance, "{n} {:?}", exec.level());
            assert!(difference(&dx, &slopes) < tolerance, "{n} {:?}", exec.level());
        });
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn half_square() {
        super::check(super::HalfSquare, |x| x * x / 2.0, |x| x);
    }
}
