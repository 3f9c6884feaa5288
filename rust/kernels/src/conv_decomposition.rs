//! A convolution in two stages: pointwise convolutions, one per tap, then shift and sum.
//!
//! Shapes       x (N, C, H, W), weight (O, C, kh, kw), bias (kh·kw, O) -> y (N, O, ⌈H/sh⌉, ⌈W/sw⌉)
//! Forward      (F1) maps = stage I (tap_projection)    (F2) y = stage II (shift_sum)
//! Backward     (B1) dmaps = adjoint of stage II    (B2) dx, dweight, dbias = adjoint of stage I
//! Constraints  (C1) as in tap_projection
//!
//! The maps, kh·kw times the output, exist for a few images at a time.

use crate::error::Error;
use crate::exec::{Exec, zeros};
use crate::planes::{product, require_len};
use crate::real::Real;
use crate::{shift_sum, tap_projection};

/// Elements of the maps from which on an image is worth a pass of its own. Sums over images are taken in these portions, so their
/// bits depend on the sizes alone.
const PORTION: usize = 1 << 18;

#[derive(Clone, Copy, Debug)]
pub struct Dims {
    images: usize,
    portion: usize,
    /// Elements per image.
    x: usize,
    y: usize,
    maps: usize,
    weight: usize,
    bias: usize,
    output: [usize; 4],
    /// Both stages of a whole portion, and of what remains.
    stages: [(tap_projection::Dims, shift_sum::Dims); 2],
}

impl Dims {
    pub fn new(x: &[usize], weight: &[usize], bias: Option<&[usize]>, stride: (usize, usize)) -> Result<Dims, Error> {
        let all = tap_projection::Dims::new(x, weight, bias)?;
        let (&[images, channels, height, width], &[outputs, _, kh, kw]) = (x, weight) else {
            return Err(Error::Shape(format!("(C1) x, weight: four axes expected, got shapes {x:?} and {weight:?}")));
        };
        let maps = product(&all.output()[1..])?;
        let portion = (PORTION / maps.max(1)).clamp(1, images.max(1));
        let stages = |images: usize| {
            let projection = tap_projection::Dims::new(&[images, channels, height, width], weight, bias)?;
            Ok((projection, shift_sum::Dims::new(&projection.output(), (kh, kw), stride)?))
        };
        let stages = [stages(portion)?, stages(images % portion)?];
        let output = [images, outputs, height.div_ceil(stride.0), width.div_ceil(stride.1)];
        product(&output)?;
        let (x, y) = (channels * height * width, outputs * output[2] * output[3]);
        Ok(Dims { images, portion, x, y, maps, weight: product(weight)?, bias: kh * kw * outputs, output, stages })
    }

    /// Shape of y.
    pub fn output(&self) -> [usize; 4] {
        self.output
    }

    /// First image, number of images and stages of each portion.
    fn portions(&self) -> impl Iterator<Item = (usize, usize, &(tap_projection::Dims, shift_sum::Dims))> {
        (0..self.images).step_by(self.portion).map(|first| {
            let count = self.portion.min(self.images - first);
            (first, count, &self.stages[usize::from(count < self.portion)])
        })
    }

    fn check<T: Real>(&self, [x, y, weight]: [&[T]; 3], bias: Option<&[T]>) -> Result<(), Error> {
        require_len("x", x, self.images * self.x)?;
        require_len("y", y, self.images * self.y)?;
        require_len("weight", weight, self.weight)?;
        bias.map_or(Ok(()), |bias| require_len("bias", bias, self.bias))
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
    d.check([x, y, weight], bias)?;
    let mut maps = exec.zeros(d.portion * d.maps)?;
    for (first, count, (projection, sum)) in d.portions() {
        let (x, y) = (&x[first * d.x..][..count * d.x], &mut y[first * d.y..][..count * d.y]);
        let maps = &mut maps[..count * d.maps];
        tap_projection::forward(x, weight, bias, maps, projection, exec)?; // (F1)
        shift_sum::forward(maps, y, sum, exec)?; // (F2)
    }
    Ok(())
}

#[allow(clippy::too_many_arguments)] // dy, the arguments and their gradients
pub fn backward<T: Real>(
    dy: &[T],
    x: &[T],
    weight: &[T],
    dx: &mut [T],
    dweight: &mut [T],
    mut dbias: Option<&mut [T]>,
    d: &Dims,
    exec: &Exec,
) -> Result<(), Error> {
    d.check([x, dy, weight], dbias.as_deref())?;
    d.check([dx, dy, dweight], None)?;
    let (mut dmaps, mut dweight_part, mut dbias_part) =
        (exec.zeros(d.portion * d.maps)?, zeros(d.weight)?, zeros(d.bias)?);
    dweight.fill(T::ZERO);
    dbias.iter_mut().for_each(|dbias| dbias.fill(T::ZERO));
    for (first, count, (projection, sum)) in d.portions() {
        let (x, dx) = (&x[first * d.x..][..count * d.x], &mut dx[first * d.x..][..count * d.x]);
        let (dy, dmaps) = (&dy[first * d.y..][..count * d.y], &mut dmaps[..count * d.maps]);
        shift_sum::backward(dy, dmaps, sum, exec)?; // (B1)
        let part = dbias.is_some().then_some(&mut dbias_part[..]);
        tap_projection::backward(dmaps, x, weight, dx, &mut dweight_part, part, projection, exec)?; // (B2)
        add(&dweight_part, dweight);
        dbias.iter_mut().for_each(|dbias| add(&dbias_part, dbias));
    }
    Ok(())
}

/// total += part
pub(crate) fn add<T: Real>(part: &[T], total: &mut [T]) {
    for (sum, &x) in total.iter_mut().zip(part) {
        *sum += x;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{difference, each_exec, grid, random, unwritten};

    type Pair = (usize, usize);

    /// y, dx, dweight and dbias as loops over every product.
    fn naive<T: Real>(
        [x, weight, bias, dy]: [&[T]; 4],
        [n, c, o]: [usize; 3],
        (h, w): Pair,
        (kh, kw): Pair,
        s: Pair,
    ) -> [Vec<T>; 4] {
        let (ho, wo) = (h.div_ceil(s.0), w.div_ceil(s.1));
        let [mut y, mut dx, mut dweight, mut dbias] =
            [dy.len(), x.len(), weight.len(), bias.len()].map(|n| vec![T::ZERO; n]);
        for ((image, out, i), (j, p, q)) in grid([n, o, ho]).flat_map(|y| grid([wo, kh, kw]).map(move |t| (y, t))) {
            let at = ((image * o + out) * ho + i) * wo + j;
            let (a, b) = ((i * s.0 + p).wrapping_sub(kh / 2), (j * s.1 + q).wrapping_sub(kw / 2));
            if a >= h || b >= w {
                continue;
            }
            y[at] += bias[(p * kw + q) * o + out];
            dbias[(p * kw + q) * o + out] += dy[at];
            for channel in 0..c {
                let (tap, from) = (((out * c + channel) * kh + p) * kw + q, ((image * c + channel) * h + a) * w + b);
                y[at] += weight[tap] * x[from];
                dweight[tap] += dy[at] * x[from];
                dx[from] += dy[at] * weight[tap];
            }
        }
        [y, dx, dweight, dbias]
    }

    fn check<T: Real>([n, c, o]: [usize; 3], size: Pair, k: Pair, s: Pair, tolerance: f64) {
        let (x_shape, weight_shape, bias_shape) = ([n, c, size.0, size.1], [o, c, k.0, k.1], [k.0 * k.1, o]);
        let d = Dims::new(&x_shape, &weight_shape, Some(&bias_shape), s).unwrap();
        let lens = [d.images * d.x, d.weight, d.bias, d.images * d.y];
        let arrays: Vec<Vec<T>> = lens.iter().zip(1..).map(|(&n, seed)| random(n, seed)).collect();
        let [x, weight, bias, dy] = std::array::from_fn(|i| &arrays[i][..]);
        let expected = naive([x, weight, bias, dy], [n, c, o], size, k, s);
        each_exec(|exec| {
            let mut found = [dy.len(), x.len(), weight.len(), bias.len()].map(unwritten::<T>);
            let [y, dx, dweight, dbias] = &mut found;
            forward(x, weight, Some(bias), y, &d, exec).unwrap();
            backward(dy, x, weight, dx, dweight, Some(dbias), &d, exec).unwrap();
            for (found, expected) in found.iter().zip(&expected) {
                assert!(difference(found, expected) < tolerance, "{x_shape:?} {weight_shape:?} {s:?}");
            }
        });
    }

    #[test]
    fn standard() {
        for (kh, kw, s) in grid([4, 4, 2]) {
            check::<f64>([2, 3, 2], (4, 5), (kh + 1, kw + 1), (s + 1, 2 - s), 1e-13);
        }
        for (n, c, o) in grid([3, 3, 3]) {
            check::<f32>([n, c, o], (3, 2), (3, 3), (1, 1), 1e-4);
        }
        for (h, w, _) in grid([3, 3, 1]) {
            check::<f64>([1, 2, 1], (h, w), (3, 2), (2, 2), 1e-13);
        }
    }

    #[test]
    fn portions() {
        check::<f64>([3, 1, 2], (150, 150), (3, 3), (1, 1), 1e-12);
        check::<f64>([5, 1, 2], (75, 75), (3, 3), (2, 1), 1e-12);
    }

    #[test]
    fn c1_shapes() {
        assert!(Dims::new(&[1, 2, 3, 3], &[2, 3, 3, 3], None, (1, 1)).is_err());
        assert!(Dims::new(&[1, 2, 3, 3], &[2, 2, 3, 3], Some(&[9, 3]), (1, 1)).is_err());
        assert!(Dims::new(&[1, 2, 3, 3], &[2, 2, 3, 3], None, (0, 1)).is_err());
    }
}
