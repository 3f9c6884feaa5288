//! Both gradients of the global filter: the filter with conjugated weights, and the product of two spectra summed over the images.

use super::{Axes, Dims, Place, Space, inverse, lanes, load_weights, multiply, spectrum};
use crate::error::Error;
use crate::exec::Exec;
use crate::gemm::transpose;
use crate::lanes::{Isa, Task, V, Vector};
use crate::pieces::pieces;
use crate::real::Real;

pub fn backward<T: Real>(
    dy: &[T],
    x: &[T],
    weight: &[T],
    dx: &mut [T],
    dweight: &mut [T],
    d: &Dims,
    exec: &Exec,
) -> Result<(), Error> {
    d.check(x, weight, dy)?;
    d.check(dx, dweight, dy)?;
    if dweight.is_empty() || dy.is_empty() {
        dweight.fill(T::ZERO);
        return Ok(());
    }
    let (axes, lanes, plane) = (Axes::new(d)?, lanes::<T>(exec), d.plane());
    let blocks = d.channels.div_ceil(lanes);
    let order = (0..blocks).flat_map(|block| (0..d.images).map(move |n| n * blocks + block));
    let mut parts = pieces(dx, d.channels * plane, lanes * plane, order)?;
    let tasks = parts.chunks_mut(d.images).zip(dweight.chunks_mut(lanes * 2 * d.half())).enumerate();
    let cost = d.cost().saturating_mul(2 * blocks * d.images);
    exec.for_each_with(
        cost,
        tasks,
        || Space::new(d, &axes, lanes, true),
        |space, (block, (images, dweight))| {
            let place = Place { first: block * lanes, count: lanes.min(d.channels - block * lanes) };
            exec.run(Both { dy, x, weight, images, dweight, place, axes: &axes, space, d });
        },
    )
}

struct Both<'a, 'b, T> {
    dy: &'a [T],
    x: &'a [T],
    weight: &'a [T],
    images: &'a mut [&'b mut [T]],
    dweight: &'a mut [T],
    place: Place,
    axes: &'a Axes<T>,
    space: &'a mut Space<T>,
    d: &'a Dims,
}

impl<T: Real> Task for Both<'_, '_, T> {
    type Out = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        let Both { dy, x, weight, images, dweight, place, axes, space, d } = self;
        let lanes = V::<T, I>::LANES;
        let nought = load_weights::<T, I>(weight, place, space, d);
        let mut lost = V::<T, I>::zero();
        space.weights[1].fill(T::ZERO);
        for (n, dx) in images.iter_mut().enumerate() {
            let ([re, im, dre, dim], steps) = (&mut space.spectra, &mut space.steps);
            lost = lost + spectrum::<T, I>(x, n, place, (re, im), steps, axes, d); // (F1) again
            let seen = spectrum::<T, I>(dy, n, place, (dre, dim), steps, axes, d); // (B1)
            lost = lost + seen;
            add_product::<T, I>(re, im, dre, dim, &mut space.weights[1]);
            multiply::<T, I>(&space.weights[0], dre, dim, V::<T, I>::splat(-T::ONE));
            inverse::<T, I>((dre, dim), nought + seen, dx, place, steps, axes, d); // (B2)
        }
        let (half, dw) = (d.size.1 / 2 + 1, &mut space.weights[1]);
        for (k, dw) in dw.chunks_exact_mut(2 * lanes).enumerate() {
            let v = k % half;
            let times = V::<T, I>::splat(if v == 0 || 2 * v == d.size.1 { T::ONE } else { T::ONE + T::ONE });
            for e in 0..2 {
                let part = &mut dw[e * lanes..][..lanes];
                (times * V::<T, I>::load(part) + lost).store(part); // (B3)
            }
        }
        let len = 2 * d.half();
        transpose::<T, I>(dw, lanes, len, place.count, dweight, len);
    }
}

/// sums += conj(re + i·im)·(dre + i·dim)                                                                                            (B3)
#[inline(always)]
fn add_product<T: Real, I: Isa>(re: &[T], im: &[T], dre: &[T], dim: &[T], sums: &mut [T]) {
    let lanes = V::<T, I>::LANES;
    let mut k = 0;
    while k < re.len() {
        let (a, b) = (V::<T, I>::load(&re[k..]), V::<T, I>::load(&im[k..]));
        let (g, h) = (V::<T, I>::load(&dre[k..]), V::<T, I>::load(&dim[k..]));
        let (real, imaginary) = (V::<T, I>::load(&sums[2 * k..]), V::<T, I>::load(&sums[2 * k + lanes..]));
        a.mul_add(g, b.mul_add(h, real)).store(&mut sums[2 * k..]);
        a.mul_add(h, (-b).mul_add(g, imaginary)).store(&mut sums[2 * k + lanes..]);
        k += lanes;
    }
}
