//! Batch normalisation of every channel of an array seen as (N, C, inner), by the statistics of the batch or by given ones.
//!
//! Shapes       x (N, C, inner), weight (C,), bias (C,), mean (C,), var (C,) -> y, the shape of x
//! Forward      (F1) m = Σ x / n    (F2) v = Σ (x − m)²/n    (F3) x̂ = (x − m)/√(v + eps)    (F4) y = weight·x̂ + bias
//! Backward     (B1) dbias = Σ dy    (B2) dweight = Σ dy·x̂    (B3) dx̂ = weight·dy
//!              (B4) training: dx = (dx̂ − Σ dx̂/n − x̂·Σ x̂·dx̂/n)/√(v + eps)    (B5) evaluation: dx = dx̂/√(v + eps)
//!              (B6) drunning_mean = −Σ dx    (B7) drunning_var = −½ Σ dx̂·x̂/(v + eps)
//! Constraints  (C1) x is (N, C, ...)    (C2) (C3) all others are (C,)    (C4) training: n > 0    (C5) eps is finite and positive
//!
//! A task owns whole channels, so that a channel is in the cache after its first pass. Planes too small for vectors are put one after
//! the other first. A sum's order follows from the shape alone.

use crate::elementwise::Function;
use crate::error::{Error, require};
use crate::exec::{Buffer, Exec, zeros};
use crate::gemm::Share;
use crate::planes::{product, require_len};
use crate::real::Real;

mod channel;
mod rows;

pub(crate) use channel::Channels;
pub(crate) use rows::{Behind, Identity, backward_rows, forward_rows};

#[derive(Clone, Copy, Debug)]
pub struct Dims {
    images: usize,
    channels: usize,
    inner: usize,
    training: bool,
    eps: f64,
}

/// Planes smaller than this are put one after the other.
const SMALL: usize = 64;

impl Dims {
    /// `vectors` are the shapes of weight, bias and whatever else is (C,).
    pub fn new(x: &[usize], vectors: &[(&str, &[usize])], training: bool, eps: f64) -> Result<Dims, Error> {
        let [images, channels, rest @ ..] = x else {
            return Err(Error::Shape(format!("(C1) x: (N, C, ...) expected, got shape {x:?}")));
        };
        for (name, shape) in vectors {
            require(*shape == [*channels], || {
                format!("(C2) (C3) {name}: ({channels},) expected, got shape {shape:?}")
            })?;
        }
        product(x)?;
        let inner = product(rest)?;
        require(!training || product(&[*images, inner])? > 0, || {
            format!("(C4) x: at least one value per channel expected, got shape {x:?}")
        })?;
        require(eps > 0.0 && eps.is_finite(), || format!("(C5) eps: a positive finite number expected, got {eps}"))?;
        Ok(Dims { images: *images, channels: *channels, inner, training, eps })
    }

    /// The same sizes with statistics that are given.
    pub(crate) fn fixed(&self) -> Dims {
        Dims { training: false, ..*self }
    }

    fn len(&self) -> usize {
        self.images * self.channels * self.inner
    }

    /// Values of a channel.
    fn count(&self) -> usize {
        self.images * self.inner
    }

    fn is_small(&self) -> bool {
        self.inner < SMALL && self.images > 1
    }

    /// Elements of a buffer for the values of a channel, if there has to be one.
    fn held(&self) -> usize {
        if self.is_small() { self.count() } else { 0 }
    }

    /// Channels of a task.
    fn each(&self) -> usize {
        Exec::batch(self.count())
    }

    /// Work space of [`forward_rows`].
    pub(crate) fn space<T: Real>(&self) -> Result<[Buffer<T>; 3], Error> {
        Ok([zeros(self.held())?, zeros(self.held())?, zeros(self.inner)?])
    }

    /// Work space of [`backward_rows`].
    pub(crate) fn backward_space<T: Real>(&self, behind: bool) -> Result<[Buffer<T>; 4], Error> {
        let upstream = if behind { self.count() } else { 0 };
        Ok([zeros(self.held())?, zeros(self.held())?, zeros(self.held())?, zeros(upstream)?])
    }

    fn inverse<T: Real>(&self, var: T) -> T {
        T::ONE / (var + T::from_f64(self.eps)).sqrt()
    }

    /// drunning_mean and drunning_var from dweight and dbias.
    pub(crate) fn running_gradients<T: Real>(
        &self,
        weight: &[T],
        var: &[T],
        (dweight, dbias): (&[T], &[T]),
        [dmean, dvar]: [&mut [T]; 2],
    ) {
        for (c, (dmean, dvar)) in dmean.iter_mut().zip(dvar).enumerate() {
            let r = self.inverse(var[c]);
            *dmean = -(r * weight[c] * dbias[c]); // (B6)
            *dvar = T::from_f64(-0.5) * (r * r * weight[c] * dweight[c]); // (B7)
        }
    }
}

/// `mean` and `var` are overwritten in training and read in evaluation.
#[allow(clippy::too_many_arguments)]
pub fn forward<T: Real>(
    x: &[T],
    weight: &[T],
    bias: &[T],
    y: &mut [T],
    mean: &mut [T],
    var: &mut [T],
    d: &Dims,
    exec: &Exec,
) -> Result<(), Error> {
    forward_with(None::<Identity>, x, weight, bias, y, mean, var, d, exec)
}

/// The same with a function of every element behind it.
#[allow(clippy::too_many_arguments)]
pub(crate) fn forward_with<T: Real, F: Function>(
    behind: Option<F>,
    x: &[T],
    weight: &[T],
    bias: &[T],
    y: &mut [T],
    mean: &mut [T],
    var: &mut [T],
    d: &Dims,
    exec: &Exec,
) -> Result<(), Error> {
    require_len("x", x, d.len())?;
    require_len("y", y, d.len())?;
    for (name, vector) in [("weight", weight), ("bias", bias), ("mean", mean), ("var", var)] {
        require_len(name, vector, d.channels)?;
    }
    let each = d.each();
    let shares = Share::of_result(y, d.images, d.channels, d.inner).by_rows(each);
    let tasks = shares.zip(mean.chunks_mut(each).zip(var.chunks_mut(each)));
    let cost = d.len().saturating_mul(F::COST);
    exec.for_each_with(
        cost,
        tasks,
        || d.space(),
        |space, (mut y, (mean, var))| {
            let own = y.rows();
            let parameters = [weight, bias].map(|vector| &vector[own.clone()]);
            let behind = behind.map(|f| Behind { f, next: None });
            forward_rows(behind, Channels::new(x, own.start, d), parameters, &mut y, [mean, var], d, space, exec);
        },
    )
}

/// What the backward reads.
#[derive(Clone, Copy)]
pub struct Saved<'a, T, A = &'a [T]> {
    pub dy: A,
    pub x: A,
    pub weight: &'a [T],
    pub mean: &'a [T],
    pub var: &'a [T],
}

/// dweight and dbias, then drunning_mean and drunning_var, which only evaluation has.
pub struct Gradients<'a, T> {
    pub dx: &'a mut [T],
    pub dweight: &'a mut [T],
    pub dbias: &'a mut [T],
    pub running: Option<(&'a mut [T], &'a mut [T])>,
}

pub fn backward<T: Real>(saved: Saved<T>, gradients: Gradients<T>, d: &Dims, exec: &Exec) -> Result<(), Error> {
    backward_with(None::<(Identity, &[T])>, saved, gradients, d, exec)
}

/// The same with a function of every element behind it, and the bias, which its slope depends on.
pub(crate) fn backward_with<T: Real, F: Function>(
    behind: Option<(F, &[T])>,
    saved: Saved<T>,
    gradients: Gradients<T>,
    d: &Dims,
    exec: &Exec,
) -> Result<(), Error> {
    let Saved { dy, x, weight, mean, var } = saved;
    let Gradients { dx, dweight, dbias, running } = gradients;
    for (name, len) in [("dy", dy.len()), ("x", x.len()), ("dx", dx.len())] {
        require(len == d.len(), || format!("{name} has {len} elements, expected {}", d.len()))?;
    }
    for (name, vector) in [("weight", weight), ("mean", mean), ("var", var), ("dweight", dweight), ("dbias", dbias)] {
        require_len(name, vector, d.channels)?;
    }
    if let Some((_, bias)) = behind {
        require_len("bias", bias, d.channels)?;
    }
    let each = d.each();
    let shares = Share::of_result(dx, d.images, d.channels, d.inner).by_rows(each);
    let tasks = shares.zip(dweight.chunks_mut(each).zip(dbias.chunks_mut(each)));
    let cost = d.len().saturating_mul(1 + F::COST);
    exec.for_each_with(
        cost,
        tasks,
        || d.backward_space(behind.is_some()),
        |space, (mut dx, (dweight, dbias))| {
            let own = dx.rows();
            let [dy, x] = [dy, x].map(|x| Channels::new(x, own.start, d));
            let [weight, mean, var] = [weight, mean, var].map(|vector| &vector[own.clone()]);
            let behind = behind.map(|(f, bias)| (Behind { f, next: None }, &bias[own.clone()]));
            let saved = Saved { dy, x, weight, mean, var };
            backward_rows(behind, saved, &mut dx, [dweight, dbias], d, space, exec);
        },
    )?;
    if let Some((dmean, dvar)) = running {
        require_len("drunning_mean", dmean, d.channels)?;
        require_len("drunning_var", dvar, d.channels)?;
        d.running_gradients(weight, var, (dweight, dbias), [dmean, dvar]);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
