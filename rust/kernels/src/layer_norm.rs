//! Layer normalisation of an array seen as (outer, n, inner): mean 0 and variance 1 over n, then scaled and shifted.
//!
//! Shapes       x (outer, n, inner), weight (n,), bias (n,) -> y, the shape of x, and m, r (outer, inner)
//! Forward      (F1) m = Σ x / n    (F2) r = 1/√(Σ (x − m)²/n + eps)    (F3) x̂ = (x − m)·r    (F4) y = weight·x̂ + bias; Σ along n
//! Backward     (B1) dbias = Σ dy    (B2) dweight = Σ dy·x̂, both over outer and inner    (B3) dx̂ = weight·dy
//!              (B4) dx = r·(dx̂ − Σ dx̂/n − x̂·Σ x̂·dx̂/n)
//! Constraints  (C1) x has that axis    (C2) n > 0    (C3) (C4) weight and bias are (n,)    (C5) eps is finite and positive
//!
//! Tokens (inner = 1) are rows of memory. Otherwise a few neighbours in inner go down the channels side by side.

mod channels;
mod maps;
mod rows;

use crate::error::{Error, require};
use crate::exec::{Exec, zeros};
use crate::planes::{product, require_len};
use crate::real::Real;

#[derive(Clone, Copy, Debug)]
pub struct Dims {
    outer: usize,
    n: usize,
    inner: usize,
    eps: f64,
}

impl Dims {
    pub fn new(
        x: &[usize],
        weight: Option<&[usize]>,
        bias: Option<&[usize]>,
        axis: isize,
        eps: f64,
    ) -> Result<Dims, Error> {
        let from_start = if axis < 0 { axis.checked_add_unsigned(x.len()).unwrap_or(-1) } else { axis };
        let axis = usize::try_from(from_start).unwrap_or(usize::MAX);
        require(axis < x.len(), || format!("(C1) axis: {from_start} is not an axis of x with shape {x:?}"))?;
        let n = x[axis];
        require(n > 0, || format!("(C2) x: at least one channel expected, got shape {x:?}"))?;
        require(weight.is_none_or(|w| w == [n]), || format!("(C3) weight: ({n},) expected, got shape {weight:?}"))?;
        require(bias.is_none_or(|b| b == [n]), || format!("(C4) bias: ({n},) expected, got shape {bias:?}"))?;
        require(eps > 0.0 && eps.is_finite(), || format!("(C5) eps: a positive finite number expected, got {eps}"))?;
        product(x)?;
        Ok(Dims { outer: product(&x[..axis])?, n, inner: product(&x[axis + 1..])?, eps })
    }

    fn len(&self) -> usize {
        self.outer * self.n * self.inner
    }

    /// Elements of m and of r.
    pub fn tokens(&self) -> usize {
        self.outer * self.inner
    }
}

/// The vector or, in its place, `value` n times.
macro_rules! given {
    ($vector:expr, $value:expr, $d:expr => $name:ident) => {
        let mut held = zeros(if $vector.is_some() { 0 } else { $d.n })?;
        held.fill($value);
        let $name = $vector.unwrap_or(&held);
    };
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
    for (name, len, expected) in [("x", x.len(), d.len()), ("y", y.len(), d.len()), ("m", m.len(), d.tokens())] {
        require(len == expected, || format!("{name} has {len} elements, expected {expected}"))?;
    }
    require_len("r", r, d.tokens())?;
    weight.map_or(Ok(()), |weight| require_len("weight", weight, d.n))?;
    bias.map_or(Ok(()), |bias| require_len("bias", bias, d.n))?;
    if x.is_empty() {
        return Ok(());
    }
    given!(weight, T::ONE, d => weight);
    given!(bias, T::ZERO, d => bias);
    if d.inner == 1 {
        rows::forward(x, weight, bias, y, m, r, d, exec)
    } else {
        maps::forward(x, weight, bias, y, m, r, d, exec)
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
    for (name, len, expected) in [
        ("dy", dy.len(), d.len()),
        ("x", x.len(), d.len()),
        ("dx", dx.len(), d.len()),
        ("m", m.len(), d.tokens()),
        ("r", r.len(), d.tokens()),
        ("weight", weight.map_or(d.n, <[T]>::len), d.n),
        ("dweight", dweight.as_deref().map_or(d.n, <[T]>::len), d.n),
        ("dbias", dbias.as_deref().map_or(d.n, <[T]>::len), d.n),
    ] {
        require(len == expected, || format!("{name} has {len} elements, expected {expected}"))?;
    }
    if x.is_empty() {
        for gradient in [dweight, dbias].into_iter().flatten() {
            gradient.fill(T::ZERO);
        }
        return Ok(());
    }
    given!(weight, T::ONE, d => weight);
    if d.inner == 1 {
        return rows::backward(saved, weight, dx, dweight, dbias, d, exec);
    }
    channels::parameter_gradients(saved, dweight, dbias, d, exec)?;
    maps::input_gradient(saved, weight, dx, d, exec)
}

#[cfg(test)]
mod tests;
