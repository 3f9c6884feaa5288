//! Group normalisation: each group of channels of a sample is brought to mean 0 and variance 1, then scaled and shifted by channel.
//!
//! Shapes       x (N, C, H, W), weight (C,), bias (C,), groups -> y, the shape of x, and m, r (N, groups); A = the numbers of a group
//! Forward      (F1) m = Σ_A x / |A|    (F2) r = 1/√(Σ_A (x − m)² / |A| + eps)    (F3) x̂ = (x − m)·r    (F4) y = weight·x̂ + bias
//! Backward     (B1) dbias = Σ dy    (B2) dweight = Σ dy·x̂    (B3) dx̂ = weight·dy
//!              (B4) dx = r·(dx̂ − Σ_A dx̂/|A| − x̂·Σ_A x̂·dx̂/|A|)
//! Constraints  (C1) x is (N, C, H, W) with C, H, W ≥ 1    (C2) groups divides C    (C3) (C4) weight and bias are (C,)
//!              (C5) eps is finite and positive

use crate::error::{Error, require};
use crate::exec::Exec;
use crate::lanes::{Isa, Task, V, Vector};
use crate::planes::{product, require_len};
use crate::real::Real;
use crate::sums::{self, Pairwise, Products, Squares, Terms};

#[derive(Clone, Copy, Debug)]
pub struct Dims {
    images: usize,
    groups: usize,
    /// Channels of a group.
    channels: usize,
    plane: usize,
    eps: f64,
}

impl Dims {
    pub fn new(
        x: &[usize],
        weight: Option<&[usize]>,
        bias: Option<&[usize]>,
        groups: usize,
        eps: f64,
    ) -> Result<Dims, Error> {
        let &[images, channels, height, width] = x else {
            return Err(Error::Shape(format!("(C1) x: (N, C, H, W) expected, got shape {x:?}")));
        };
        require(channels > 0, || format!("(C1) x: at least one channel expected, got shape {x:?}"))?;
        require(groups > 0 && channels % groups == 0, || {
            format!("(C2) groups: a divisor of {channels} channels expected, got {groups}")
        })?;
        let d = Dims { images, groups, channels: channels / groups, plane: product(&[height, width])?, eps };
        d.checked(x, weight, bias)
    }

    /// A group for every channel.
    pub fn by_channel(x: &[usize], weight: Option<&[usize]>, bias: Option<&[usize]>, eps: f64) -> Result<Dims, Error> {
        let &[images, groups, height, width] = x else {
            return Err(Error::Shape(format!("(C1) x: (N, C, H, W) expected, got shape {x:?}")));
        };
        Dims { images, groups, channels: 1, plane: product(&[height, width])?, eps }.checked(x, weight, bias)
    }

    fn checked(self, x: &[usize], weight: Option<&[usize]>, bias: Option<&[usize]>) -> Result<Dims, Error> {
        product(x)?;
        let channels = x[1];
        require(self.plane > 0, || format!("(C1) x: at least one pixel expected, got shape {x:?}"))?;
        require(weight.is_none_or(|w| w == [channels]), || format!("weight: ({channels},) expected, got {weight:?}"))?;
        require(bias.is_none_or(|b| b == [channels]), || format!("bias: ({channels},) expected, got {bias:?}"))?;
        require(self.eps > 0.0 && self.eps.is_finite(), || {
            format!("eps: a positive finite number expected, got {}", self.eps)
        })?;
        Ok(self)
    }

    /// Shape of m and r.
    pub fn statistics(&self) -> [usize; 2] {
        [self.images, self.groups]
    }

    fn all_channels(&self) -> usize {
        self.groups * self.channels
    }

    /// |A|
    fn count(&self) -> usize {
        self.channels * self.plane
    }

    fn len(&self) -> usize {
        self.images * self.groups * self.count()
    }
}

#[allow(clippy::too_many_arguments)]
pub fn forward<T: Real>(
    x: &[T],
    weight: Option<&[T]>,
    bias: Option<&[T]>,
    y: &mut [T],
    m: &mut [T],
    r: &mut [T],
    d: &Dims,
    exec: &Exec,
) -> Result<(), Error> {
    require_len("x", x, d.len())?;
    require_len("y", y, d.len())?;
    require_len("m", m, d.images * d.groups)?;
    require_len("r", r, d.images * d.groups)?;
    for (name, vector) in [("weight", weight), ("bias", bias)] {
        vector.map_or(Ok(()), |vector| require_len(name, vector, d.all_channels()))?;
    }
    let each = Exec::batch(d.count());
    let tasks = y.chunks_mut(each * d.count()).zip(m.chunks_mut(each).zip(r.chunks_mut(each))).enumerate();
    exec.for_each(d.len(), tasks, |(at, (y, (m, r)))| {
        for (k, (y, (m, r))) in y.chunks_exact_mut(d.count()).zip(m.iter_mut().zip(r)).enumerate() {
            let index = at * each + k;
            let x = &x[index * d.count()..][..d.count()];
            exec.run(Forward { x, weight, bias, y, m, r, first: index % d.groups * d.channels, d });
        }
    })
}

/// One group of one sample; `first` is its first channel.
struct Forward<'a, T> {
    x: &'a [T],
    weight: Option<&'a [T]>,
    bias: Option<&'a [T]>,
    y: &'a mut [T],
    m: &'a mut T,
    r: &'a mut T,
    first: usize,
    d: &'a Dims,
}

impl<T: Real> Task for Forward<'_, T> {
    type Out = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        let (d, count) = (self.d, T::from_usize(self.x.len()));
        let m = sums::total::<T, I, &[T]>(&self.x, self.x.len()) / count; // (F1)
        let variance = sums::total::<T, I, Squares<T>>(&Squares { x: self.x, m }, self.x.len()) / count;
        let r = T::ONE / (variance + T::from_f64(d.eps)).sqrt(); // (F2)
        (*self.m, *self.r) = (m, r);
        let (m, r, lanes) = (V::<T, I>::splat(m), V::<T, I>::splat(r), V::<T, I>::LANES);
        for (c, (x, y)) in self.x.chunks_exact(d.plane).zip(self.y.chunks_exact_mut(d.plane)).enumerate() {
            let weight = V::<T, I>::splat(self.weight.map_or(T::ONE, |weight| weight[self.first + c]));
            let bias = V::<T, I>::splat(self.bias.map_or(T::ZERO, |bias| bias[self.first + c]));
            let mut k = 0;
            while k < x.len() {
                let n = lanes.min(x.len() - k);
                let x_hat = (V::<T, I>::load_partial(&x[k..], n) - m) * r; // (F3)
                x_hat.mul_add(weight, bias).store_partial(&mut y[k..], n); // (F4)
                k += n;
            }
        }
    }
}

/// What the backward reads.
#[derive(Clone, Copy)]
pub struct Saved<'a, T> {
    pub dy: &'a [T],
    pub x: &'a [T],
    pub m: &'a [T],
    pub r: &'a [T],
}

pub fn backward<T: Real>(
    saved: Saved<T>,
    weight: Option<&[T]>,
    dx: &mut [T],
    dweight: Option<&mut [T]>,
    dbias: Option<&mut [T]>,
    d: &Dims,
    exec: &Exec,
) -> Result<(), Error> {
    let Saved { dy, x, m, r } = saved;
    let channels = d.all_channels();
    for (name, len, expected) in [
        ("dy", dy.len(), d.len()),
        ("x", x.len(), d.len()),
        ("dx", dx.len(), d.len()),
        ("m", m.len(), d.images * d.groups),
        ("r", r.len(), d.images * d.groups),
        ("weight", weight.map_or(channels, <[T]>::len), channels),
        ("dweight", dweight.as_deref().map_or(channels, <[T]>::len), channels),
        ("dbias", dbias.as_deref().map_or(channels, <[T]>::len), channels),
    ] {
        require(len == expected, || format!("{name} has {len} elements, expected {expected}"))?;
    }
    let each = Exec::batch(d.images * d.plane);
    if let Some(dbias) = dbias {
        exec.for_each(d.len() / 2, dbias.chunks_mut(each).enumerate(), |(at, dbias)| {
            for (k, dbias) in dbias.iter_mut().enumerate() {
                *dbias = exec.run(Channel { saved, channel: at * each + k, products: false, d }); // (B1)
            }
        })?;
    }
    if let Some(dweight) = dweight {
        exec.for_each(d.len(), dweight.chunks_mut(each).enumerate(), |(at, dweight)| {
            for (k, dweight) in dweight.iter_mut().enumerate() {
                *dweight = exec.run(Channel { saved, channel: at * each + k, products: true, d }); // (B2)
            }
        })?;
    }
    let each = Exec::batch(2 * d.count());
    exec.for_each(2 * d.len(), dx.chunks_mut(each * d.count()).enumerate(), |(at, dx)| {
        for (k, dx) in dx.chunks_exact_mut(d.count()).enumerate() {
            exec.run(InputGradient { saved, weight, dx, index: at * each + k, d });
        }
    })
}

/// Σ dy or Σ dy·x̂ of a channel.
struct Channel<'a, T> {
    saved: Saved<'a, T>,
    channel: usize,
    products: bool,
    d: &'a Dims,
}

impl<T: Real> Task for Channel<'_, T> {
    type Out = T;
    #[inline(always)]
    fn run<I: Isa>(self) -> T {
        let (d, mut sum) = (self.d, Pairwise::default());
        for n in 0..d.images {
            let start = (n * d.all_channels() + self.channel) * d.plane;
            let (dy, x) = (&self.saved.dy[start..][..d.plane], &self.saved.x[start..][..d.plane]);
            if self.products {
                let group = n * d.groups + self.channel / d.channels;
                let terms = Products { dy, x, m: self.saved.m[group], r: self.saved.r[group] };
                sums::add::<T, I, Products<T>>(&terms, d.plane, &mut sum);
            } else {
                sums::add::<T, I, &[T]>(&dy, d.plane, &mut sum);
            }
        }
        sum.total()
    }
}

/// weight·dy, and with `products` times x̂.
struct Weighted<'a, T> {
    of: Products<'a, T>,
    weight: T,
    products: bool,
}

impl<T: Real> Terms<T> for Weighted<'_, T> {
    #[inline(always)]
    fn load_partial<I: Isa>(&self, k: usize, n: usize) -> V<T, I> {
        let dx_hat = V::<T, I>::splat(self.weight) * V::<T, I>::load_partial(&self.of.dy[k..], n);
        if self.products { dx_hat * self.of.x_hat::<I>(k, n) } else { dx_hat }
    }
}

/// One group of one sample.
struct InputGradient<'a, T> {
    saved: Saved<'a, T>,
    weight: Option<&'a [T]>,
    dx: &'a mut [T],
    index: usize,
    d: &'a Dims,
}

impl<T: Real> InputGradient<'_, T> {
    /// The plane of channel c of the group.
    #[inline(always)]
    fn plane(&self, c: usize, products: bool) -> Weighted<'_, T> {
        let (d, Saved { dy, x, m, r }) = (self.d, self.saved);
        let start = self.index * d.count() + c * d.plane;
        let of = Products {
            dy: &dy[start..start + d.plane],
            x: &x[start..start + d.plane],
            m: m[self.index],
            r: r[self.index],
        };
        let weight = self.weight.map_or(T::ONE, |weight| weight[self.index % d.groups * d.channels + c]);
        Weighted { of, weight, products }
    }
}

impl<T: Real> Task for InputGradient<'_, T> {
    type Out = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        let (d, count) = (self.d, T::from_usize(self.d.count()));
        let (mut mean, mut slope) = (Pairwise::default(), Pairwise::default());
        for c in 0..d.channels {
            sums::add::<T, I, Weighted<T>>(&self.plane(c, false), d.plane, &mut mean);
            sums::add::<T, I, Weighted<T>>(&self.plane(c, true), d.plane, &mut slope);
        }
        let (mean, slope) = (V::<T, I>::splat(mean.total() / count), V::<T, I>::splat(slope.total() / count));
        let r = V::<T, I>::splat(self.saved.r[self.index]);
        for c in 0..d.channels {
            let mut k = 0;
            while k < d.plane {
                let n = V::<T, I>::LANES.min(d.plane - k);
                let terms = self.plane(c, false);
                let (dx_hat, x_hat) = (terms.load_partial::<I>(k, n), terms.of.x_hat::<I>(k, n));
                (r * (dx_hat - mean - x_hat * slope)).store_partial(&mut self.dx[c * d.plane + k..], n); // (B4)
                k += n;
            }
        }
    }
}

#[cfg(test)]
mod tests;
