//! Squeeze and excitation, then a pointwise convolution: the gate scales the columns of the kernel instead of the maps.
//!
//! Shapes       x (N, C, H, W), reduce_weight (R, C), expand_weight (C, R), weight (O, C, 1, 1), reduce_bias (R,), expand_bias (C,),
//!              bias (O,) -> y (N, O, H, W)
//! Forward      (F1) s (N, C), the gate of x as `squeeze_excite` makes it    (F2) Kₙ = K diag(sₙ), K = weight[:, :, 0, 0]
//!              (F3) yₙ = Kₙ xₙ + bias at every pixel
//! Backward     (B1) dbias = Σ dy    (B2) Gₙ = Σ_ij dyₙ xₙᵀ    (B3) dK = Σₙ Gₙ diag(sₙ)    (B4) dsₙ = Σ_o K ⊙ Gₙ
//!              (B5) du and the gradients of the small network, from ds by `squeeze_excite`    (B6) dxₙ = Kₙᵀ dyₙ + duₙ/(H·W)
//! Constraints  (C1) weight is (O, C, 1, 1)    (C2) bias is (O,); all else as `squeeze_excite`
//!
//! The forward gates x where the product puts it side by side. In the backward a kernel for every image pays where maps are larger than
//! kernels; where they are smaller, all images share K, and the array of dx holds x·s and Kᵀ dy before.

use crate::conv2d;
use crate::error::{Error, require};
use crate::exec::{Buffer, Exec, zeros};
use crate::gemm::{DEPTH, Matrix, Product, Scaled, Stored};
use crate::lanes::{Isa, Task, V, Vector};
use crate::planes::require_len;
use crate::real::{Real, finite};
use crate::squeeze_excite::{self, Gradients, Network, gate, gate_again, gated, means, scale_gradient, through_gate};

pub struct Dims {
    excite: squeeze_excite::Dims,
    shape: [usize; 4],
    conv: conv2d::Dims,
}

impl Dims {
    pub fn new(
        excite: squeeze_excite::Dims,
        x: [usize; 4],
        weight: &[usize],
        bias: Option<&[usize]>,
    ) -> Result<Dims, Error> {
        let ([images, inputs, height, width], outputs) = (x, weight.first().copied().unwrap_or(0));
        require(weight == [outputs, inputs, 1, 1], || {
            format!("(C1) weight: (O, {inputs}, 1, 1) expected, got shape {weight:?}")
        })?;
        require(bias.is_none_or(|b| b == [outputs]), || {
            format!("(C2) bias: ({outputs},) expected, got shape {bias:?}")
        })?;
        let conv = conv2d::Dims::pointwise(images, inputs, outputs, height * width)?;
        Ok(Dims { excite, shape: [images, outputs, height, width], conv })
    }

    /// Shape of y.
    pub fn output(&self) -> [usize; 4] {
        self.shape
    }

    /// Shape of u.
    pub fn u_shape(&self) -> [usize; 2] {
        self.excite.u_shape()
    }

    fn pixels(&self) -> usize {
        self.conv.size.1
    }

    /// Elements of a kernel.
    fn weights(&self) -> usize {
        self.conv.inputs * self.conv.outputs
    }

    /// Whether in the backward every image gets a kernel of its own: also where the sums over pixels and over outputs must not be
    /// exchanged, since not all is finite.
    fn by_image<T: Real>(&self, u: &[T], weight: &[T]) -> bool {
        self.conv.images > 0 && (self.pixels() >= self.conv.outputs || !finite(u) || !finite(weight))
    }

    fn check<T>(&self, x: &[T], weight: &[T], u: &[T], y: &[T]) -> Result<(), Error> {
        self.excite.check(x, u)?;
        require_len("weight", weight, self.weights())?;
        require_len("y", y, self.shape.iter().product())
    }
}

#[allow(clippy::too_many_arguments)]
pub fn forward<T: Real>(
    x: &[T],
    network: Network<T>,
    weight: &[T],
    bias: Option<&[T]>,
    y: &mut [T],
    u: &mut [T],
    d: &Dims,
    exec: &Exec,
) -> Result<(), Error> {
    d.check(x, weight, u, y)?;
    bias.map_or(Ok(()), |bias| require_len("bias", bias, d.conv.outputs))?;
    means(x, u, &d.excite, exec)?;
    let s = gate(u, network, &d.excite, exec)?; // (F1)
    let conv2d::Dims { images, inputs, outputs, .. } = d.conv;
    let x = Stored { x, groups: 1, depth: inputs, columns: d.pixels() };
    let product = Product { images, groups: 1, rows: outputs, depth: inputs, block: DEPTH, columns: d.pixels() };
    product.run(Matrix::Rows(weight), &Scaled { x, scale: &s }, bias, y, exec) // (F2) (F3)
}

/// Of x, the small network, weight and bias, in this order.
pub struct AllGradients<'a, T> {
    pub x: &'a mut [T],
    pub network: Gradients<'a, T>,
    pub weight: &'a mut [T],
    pub bias: Option<&'a mut [T]>,
}

#[allow(clippy::too_many_arguments)]
pub fn backward<T: Real>(
    dy: &[T],
    x: &[T],
    network: Network<T>,
    weight: &[T],
    u: &[T],
    gradients: AllGradients<T>,
    d: &Dims,
    exec: &Exec,
) -> Result<(), Error> {
    d.check(x, weight, u, dy)?;
    let AllGradients { x: dx, network: dnetwork, weight: dweight, bias } = gradients;
    d.check(dx, dweight, u, dy)?;
    if let Some(dbias) = bias {
        require_len("dbias", dbias, d.conv.outputs)?;
        conv2d::bias_gradient(dy, dbias, &d.conv, exec)?; // (B1)
    }
    let s = gate(u, network, &d.excite, exec)?;
    if !d.by_image(u, weight) {
        gated(x, &s, None, dx, &d.excite, exec)?;
        conv2d::weight_gradient(dy, dx, dweight, &d.conv, exec)?; // (B2) (B3)
        conv2d::input_gradient(dy, weight, dx, &d.conv, exec)?;
        let ds = scale_gradient(dx, x, &d.excite, exec)?; // (B4)
        let du = through_gate(&ds, u, network, dnetwork, &d.excite, exec)?; // (B5)
        return gate_again(dx, &s, &du, &d.excite, exec); // (B6)
    }
    let conv2d::Dims { images, inputs, outputs, .. } = d.conv;
    let each = conv2d::Dims { images: 1, groups: images, inputs: images * inputs, outputs: images * outputs, ..d.conv };
    let mut g = zeros(images * d.weights())?;
    conv2d::weight_gradient(dy, x, &mut g, &each, exec)?; // (B2)
    let cost = g.len() / 8;
    exec.for_each(cost, dweight.chunks_mut(inputs.max(1)).enumerate(), |(o, dweight)| {
        dweight.fill(T::ZERO);
        for (n, s) in s.chunks_exact(inputs).enumerate() {
            exec.run(AddProducts { x: &g[(n * outputs + o) * inputs..], y: s, to: dweight }); // (B3)
        }
    })?;
    let mut ds = zeros(s.len())?;
    exec.for_each(cost, ds.chunks_mut(inputs.max(1)).zip(g.chunks_exact(d.weights().max(1))), |(ds, g)| {
        for (weight, g) in weight.chunks_exact(inputs).zip(g.chunks_exact(inputs)) {
            exec.run(AddProducts { x: weight, y: g, to: ds }); // (B4)
        }
    })?;
    let du = through_gate(&ds, u, network, dnetwork, &d.excite, exec)?; // (B5)
    let kernels = kernels(weight, &s, d, exec)?;
    let dy = Stored { x: dy, groups: images, depth: outputs, columns: d.pixels() };
    let product =
        Product { images: 1, groups: images, rows: inputs, depth: outputs, block: DEPTH, columns: d.pixels() };
    product.run(Matrix::Columns(&kernels), &dy, Some(&du), dx, exec) // (B6)
}

/// Kₙ (N, O, C): the columns of the kernel times sₙ.                                                                               (F2)
fn kernels<T: Real>(weight: &[T], s: &[T], d: &Dims, exec: &Exec) -> Result<Buffer<T>, Error> {
    let mut kernels = zeros(d.conv.images * d.weights())?;
    let cost = kernels.len() / 8;
    let tasks = kernels.chunks_exact_mut(d.weights().max(1)).zip(s.chunks_exact(d.conv.inputs.max(1)));
    exec.for_each(cost, tasks, |(kernels, s)| {
        for (to, weight) in kernels.chunks_exact_mut(s.len()).zip(weight.chunks_exact(s.len())) {
            exec.run(AddProducts { x: weight, y: s, to });
        }
    })?;
    Ok(kernels)
}

/// to += x·y, element by element; x may go on.
struct AddProducts<'a, T> {
    x: &'a [T],
    y: &'a [T],
    to: &'a mut [T],
}

impl<T: Real> Task for AddProducts<'_, T> {
    type Out = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        let (n, lanes) = (self.to.len(), V::<T, I>::LANES);
        let (x, y) = (&self.x[..n], &self.y[..n]);
        let mut k = 0;
        while k + lanes <= n {
            let to = &mut self.to[k..];
            V::<T, I>::load(&x[k..]).mul_add(V::<T, I>::load(&y[k..]), V::<T, I>::load(to)).store(to);
            k += lanes;
        }
        let (rest, to) = (n - k, &mut self.to[k..]);
        let (a, b) = (V::<T, I>::load_partial(&x[k..], rest), V::<T, I>::load_partial(&y[k..], rest));
        a.mul_add(b, V::<T, I>::load_partial(to, rest)).store_partial(to, rest);
    }
}

#[cfg(test)]
mod tests;
