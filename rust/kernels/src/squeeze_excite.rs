//! Squeeze and excitation: every channel is scaled by a gate, which a small network reads off the channels' means.
//!
//! Shapes       x (N, C, H, W), reduce_weight (R, C), expand_weight (C, R), reduce_bias (R,), expand_bias (C,) -> y, the shape of x
//! Forward      (F1) u = mean of x over the pixels    (F2) t = u V₁ᵀ + b₁    (F3) z = act(t)    (F4) e = z V₂ᵀ + b₂    (F5) s = σ(e)
//!              (F6) y = x·s
//! Backward     (B1) ds = Σ dy·x over the pixels    (B2) de = ds·σ'(e)    (B3) dV₂ = deᵀ z, db₂ = Σ de    (B4) dt = (de V₂)·act'(t)
//!              (B5) dV₁ = dtᵀ u, db₁ = Σ dt    (B6) dx = dy·s + dt V₁/(H·W)
//! Constraints  (C1) four axes    (C2) (R, C) and (C, R)    (C3) (R,) and (C,)    (C4) at least one pixel    (C5) "silu", "relu", "gelu"
//!
//! Two passes over maps in each direction; what lies between them is the kernels of `linear` and of the activations.

#[cfg(test)]
mod tests;

use crate::elementwise::{Function, InPlace};
use crate::error::{Error, require};
use crate::exec::{Buffer, Exec, zeros};
use crate::fill::Fill;
use crate::lanes::{Isa, Task, V, Vector, is_large};
use crate::planes::{product, require_len};
use crate::real::Real;
use crate::sums::{self, Terms};
use crate::{gelu, global_avg_pool, linear, relu, sigmoid, silu};

#[derive(Clone, Copy)]
enum Activation {
    Silu,
    Relu,
    Gelu,
}

pub struct Dims {
    /// N, C, R and pixels.
    images: usize,
    channels: usize,
    reduced: usize,
    pixels: usize,
    mean: global_avg_pool::Dims,
    reduce: linear::Dims,
    expand: linear::Dims,
    activation: Activation,
    exact: gelu::Form,
}

impl Dims {
    pub fn new(
        x: &[usize],
        reduce_weight: &[usize],
        expand_weight: &[usize],
        reduce_bias: Option<&[usize]>,
        expand_bias: Option<&[usize]>,
        activation: &str,
    ) -> Result<Dims, Error> {
        let &[images, channels, height, width] = x else {
            return Err(Error::Shape(format!("(C1) x: (N, C, H, W) expected, got shape {x:?}")));
        };
        let reduced = reduce_weight.first().copied().unwrap_or(0);
        require(reduce_weight == [reduced, channels] && expand_weight == [channels, reduced], || {
            format!(
                "(C2) weights: (R, {channels}) and ({channels}, R) expected, got {reduce_weight:?} and {expand_weight:?}"
            )
        })?;
        require(reduce_bias.is_none_or(|b| b == [reduced]) && expand_bias.is_none_or(|b| b == [channels]), || {
            format!("(C3) biases: ({reduced},) and ({channels},) expected, got {reduce_bias:?} and {expand_bias:?}")
        })?;
        require(height > 0 && width > 0, || format!("(C4) x: at least one pixel expected, got shape {x:?}"))?;
        let activation = match activation {
            "silu" => Activation::Silu,
            "relu" => Activation::Relu,
            "gelu" => Activation::Gelu,
            _ => return Err(Error::Shape(format!("(C5) activation: silu, relu or gelu expected, got {activation:?}"))),
        };
        Ok(Dims {
            images,
            channels,
            reduced,
            pixels: product(&[height, width])?,
            mean: global_avg_pool::Dims::new(x)?,
            reduce: linear::Dims::new(&[images, channels], reduce_weight, reduce_bias, false)?,
            expand: linear::Dims::new(&[images, reduced], expand_weight, expand_bias, false)?,
            activation,
            exact: gelu::Form::new("none")?,
        })
    }

    pub fn u_shape(&self) -> [usize; 2] {
        [self.images, self.channels]
    }

    pub(crate) fn check<T>(&self, x: &[T], u: &[T]) -> Result<(), Error> {
        require_len("x", x, self.images * self.channels * self.pixels)?;
        require_len("u", u, self.images * self.channels)
    }
}

/// Weights and biases.
#[derive(Clone, Copy)]
pub struct Network<'a, T> {
    pub reduce_weight: &'a [T],
    pub expand_weight: &'a [T],
    pub reduce_bias: Option<&'a [T]>,
    pub expand_bias: Option<&'a [T]>,
}

/// Where the gradients of weights and biases go; all are overwritten.
pub struct Gradients<'a, T> {
    pub reduce_weight: &'a mut [T],
    pub expand_weight: &'a mut [T],
    pub reduce_bias: Option<&'a mut [T]>,
    pub expand_bias: Option<&'a mut [T]>,
}

/// t, z and e for the means u.
struct Excitation<T> {
    t: Buffer<T>,
    z: Buffer<T>,
    e: Buffer<T>,
}

impl<T: Real> Excitation<T> {
    fn new(u: &[T], w: Network<T>, d: &Dims, exec: &Exec) -> Result<Self, Error> {
        let small = d.images * d.reduced;
        let (mut t, mut z, mut e) = (zeros(small)?, zeros(small)?, zeros(u.len())?);
        linear::forward(u, w.reduce_weight, w.reduce_bias, &mut t, &d.reduce, exec)?; // (F2)
        match d.activation {
            Activation::Silu => silu::forward(&t, &mut z, exec)?, // (F3)
            Activation::Relu => relu::forward(&t, &mut z, exec)?,
            Activation::Gelu => gelu::forward(&t, &mut z, &d.exact, exec)?,
        }
        linear::forward(&z, w.expand_weight, w.expand_bias, &mut e, &d.expand, exec)?; // (F4)
        Ok(Excitation { t, z, e })
    }
}

/// u for x.
pub(crate) fn means<T: Real>(x: &[T], u: &mut [T], d: &Dims, exec: &Exec) -> Result<(), Error> {
    global_avg_pool::forward(x, u, &d.mean, exec) // (F1)
}

/// s for the means u.
pub(crate) fn gate<T: Real>(u: &[T], w: Network<T>, d: &Dims, exec: &Exec) -> Result<Buffer<T>, Error> {
    let e = Excitation::new(u, w, d, exec)?.e;
    let mut s = zeros(u.len())?;
    sigmoid::forward(&e, &mut s, exec)?; // (F5)
    Ok(s)
}

/// What ds does to every pixel of x through the means, and the gradients of weights and biases.
pub(crate) fn through_gate<T: Real>(
    ds: &[T],
    u: &[T],
    w: Network<T>,
    grads: Gradients<T>,
    d: &Dims,
    exec: &Exec,
) -> Result<Buffer<T>, Error> {
    let Excitation { t, z, e } = Excitation::new(u, w, d, exec)?;
    let (mut de, mut dz, mut dt, mut du) = (zeros(u.len())?, zeros(z.len())?, zeros(t.len())?, zeros(u.len())?);
    sigmoid::backward(ds, &e, &mut de, exec)?; // (B2)
    linear::backward(&de, &z, w.expand_weight, &mut dz, grads.expand_weight, grads.expand_bias, &d.expand, exec)?; // (B3)
    match d.activation {
        Activation::Silu => silu::backward(&dz, &t, &mut dt, exec)?, // (B4)
        Activation::Relu => relu::backward(&dz, &t, &mut dt, exec)?,
        Activation::Gelu => gelu::backward(&dz, &t, &mut dt, &d.exact, exec)?,
    }
    linear::backward(&dt, u, w.reduce_weight, &mut du, grads.reduce_weight, grads.reduce_bias, &d.reduce, exec)?; // (B5)
    let n = T::from_usize(d.pixels);
    for du in du.iter_mut() {
        *du = *du / n;
    }
    Ok(du)
}

pub fn forward<T: Real>(x: &[T], w: Network<T>, y: &mut [T], u: &mut [T], d: &Dims, exec: &Exec) -> Result<(), Error> {
    d.check(x, u)?;
    require_len("y", y, x.len())?;
    means(x, u, d, exec)?;
    gated(x, &gate(u, w, d, exec)?, None, y, d, exec) // (F6)
}

#[allow(clippy::too_many_arguments)]
pub fn backward<T: Real>(
    dy: &[T],
    x: &[T],
    w: Network<T>,
    u: &[T],
    dx: &mut [T],
    grads: Gradients<T>,
    d: &Dims,
    exec: &Exec,
) -> Result<(), Error> {
    d.check(x, u)?;
    require_len("dy", dy, x.len())?;
    require_len("dx", dx, x.len())?;
    let ds = scale_gradient(dy, x, d, exec)?;
    let (s, du) = (gate(u, w, d, exec)?, through_gate(&ds, u, w, grads, d, exec)?);
    gated(dy, &s, Some(&du), dx, d, exec) // (B6)
}

/// ds of every plane.                                                                                                          (B1)
pub(crate) fn scale_gradient<T: Real>(dy: &[T], x: &[T], d: &Dims, exec: &Exec) -> Result<Buffer<T>, Error> {
    let mut ds = zeros(d.images * d.channels)?;
    let each = Exec::batch(d.pixels / 2);
    let tasks = dy.chunks(each * d.pixels).zip(x.chunks(each * d.pixels)).zip(ds.chunks_mut(each));
    exec.for_each(x.len() / 2, tasks, |((dy, x), ds)| {
        for ((dy, x), ds) in dy.chunks_exact(d.pixels).zip(x.chunks_exact(d.pixels)).zip(ds) {
            *ds = exec.run(Dot { x, y: dy });
        }
    })?;
    Ok(ds)
}

/// y = x·s, and + c, for every plane of x.
pub(crate) fn gated<T: Real>(
    x: &[T],
    s: &[T],
    c: Option<&[T]>,
    y: &mut [T],
    d: &Dims,
    exec: &Exec,
) -> Result<(), Error> {
    let (each, large) = (Exec::batch(d.pixels / 2), is_large(y));
    let tasks = x.chunks(each * d.pixels).zip(y.chunks_mut(each * d.pixels)).enumerate();
    exec.for_each(x.len() / 2, tasks, |(task, (x, y))| {
        for (k, (x, y)) in x.chunks_exact(d.pixels).zip(y.chunks_exact_mut(d.pixels)).enumerate() {
            let plane = task * each + k;
            exec.run(Fill { terms: Gate { x, s: s[plane], c: c.map(|c| c[plane]) }, y, large });
        }
    })
}

/// The same in place.
pub(crate) fn gate_again<T: Real>(y: &mut [T], s: &[T], c: &[T], d: &Dims, exec: &Exec) -> Result<(), Error> {
    let each = Exec::batch(d.pixels / 2);
    let cost = y.len() / 2;
    exec.for_each(cost, y.chunks_mut(each * d.pixels).enumerate(), |(task, y)| {
        for (k, y) in y.chunks_exact_mut(d.pixels).enumerate() {
            let plane = task * each + k;
            exec.run(InPlace::new(Affine { s: s[plane].to_f64(), c: c[plane].to_f64() }, None, y));
        }
    })
}

/// s·x + c
#[derive(Clone, Copy)]
struct Affine {
    s: f64,
    c: f64,
}

impl Function for Affine {
    #[inline(always)]
    fn value<A: Vector>(self, x: A) -> A {
        x.mul_add(A::splat(A::Elem::from_f64(self.s)), A::splat(A::Elem::from_f64(self.c)))
    }

    #[inline(always)]
    fn gradient<A: Vector>(self, dy: A, _: A) -> A {
        dy * A::splat(A::Elem::from_f64(self.s))
    }
}

/// x·s, and + c
struct Gate<'a, T> {
    x: &'a [T],
    s: T,
    c: Option<T>,
}

impl<T: Real> Terms<T> for Gate<'_, T> {
    #[inline(always)]
    fn load_partial<I: Isa>(&self, k: usize, n: usize) -> V<T, I> {
        let (x, s) = (V::<T, I>::load_partial(&self.x[k..], n), V::<T, I>::splat(self.s));
        match self.c {
            Some(c) => x.mul_add(s, V::<T, I>::splat(c)),
            None => x * s,
        }
    }
}

/// Σ x·y
struct Dot<'a, T> {
    x: &'a [T],
    y: &'a [T],
}

impl<T: Real> Terms<T> for Dot<'_, T> {
    #[inline(always)]
    fn load_partial<I: Isa>(&self, k: usize, n: usize) -> V<T, I> {
        V::<T, I>::load_partial(&self.x[k..], n) * V::<T, I>::load_partial(&self.y[k..], n)
    }
}

impl<T: Real> Task for Dot<'_, T> {
    type Out = T;
    #[inline(always)]
    fn run<I: Isa>(self) -> T {
        sums::total::<T, I, Self>(&self, self.x.len())
    }
}
