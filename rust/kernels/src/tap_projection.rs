//! Stage I of a convolution: one pointwise convolution per kernel tap, nothing shifted yet.
//!
//! Shapes       x (N, C, H, W), weight (O, C, kh, kw), bias (kh*kw, O) -> maps (N, kh*kw, O, H, W); map m = p*kw + q
//! Forward      (F1) maps[m] = K_pq x + bias[m], K_pq = weight[:, :, p, q]
//! Backward     (B1) dbias[m] = Σ dmaps[m]    (B2) dK_pq = Σ_nij dmaps[m] xᵀ    (B3) dx = Σ_pq K_pqᵀ dmaps[m]
//! Constraints  (C1) x is (N, C, H, W)    (C2) weight is (O, C, kh, kw)    (C3) bias, if given, is (kh*kw, O)

use crate::error::{Error, require};
use crate::exec::{Exec, zeros};
use crate::gemm::Transpose;
use crate::planes::{product, require_len};
use crate::pointwise_conv;
use crate::real::Real;

#[derive(Clone, Copy, Debug)]
pub struct Dims {
    inputs: usize,
    outputs: usize,
    taps: usize,
    shape: [usize; 5],
    pointwise: pointwise_conv::Dims,
}

impl Dims {
    pub fn new(x: &[usize], weight: &[usize], bias: Option<&[usize]>) -> Result<Dims, Error> {
        let &[images, inputs, height, width] = x else {
            return Err(Error::Shape(format!("(C1) x: (N, C, H, W) expected, got shape {x:?}")));
        };
        let &[outputs, channels, kh, kw] = weight else {
            return Err(Error::Shape(format!("(C2) weight: (O, C, kh, kw) expected, got shape {weight:?}")));
        };
        require(channels == inputs && kh > 0 && kw > 0, || {
            format!("(C2) weight: (O, {inputs}, kh, kw) with kh, kw >= 1 expected, got shape {weight:?}")
        })?;
        product(weight)?;
        let taps = product(&[kh, kw])?;
        require(bias.is_none_or(|b| b == [taps, outputs]), || {
            format!("(C3) bias: ({taps}, {outputs}) expected, got shape {bias:?}")
        })?;
        let rows = product(&[taps, outputs])?;
        let pointwise = pointwise_conv::Dims::new(x, &[rows, inputs, 1, 1], None)?;
        Ok(Dims { inputs, outputs, taps, shape: [images, taps, outputs, height, width], pointwise })
    }

    /// Shape of maps.
    pub fn output(&self) -> [usize; 5] {
        self.shape
    }
}

pub fn forward<T: Real>(
    x: &[T],
    weight: &[T],
    bias: Option<&[T]>,
    maps: &mut [T],
    d: &Dims,
    exec: &Exec,
) -> Result<(), Error> {
    require_len("weight", weight, d.outputs * d.inputs * d.taps)?;
    let mut by_tap = zeros(weight.len())?;
    transpose(weight, &mut by_tap, d.taps, exec);
    pointwise_conv::forward(x, &by_tap, bias, maps, &d.pointwise, exec) // (F1)
}

#[allow(clippy::too_many_arguments)]
pub fn backward<T: Real>(
    dmaps: &[T],
    x: &[T],
    weight: &[T],
    dx: &mut [T],
    dweight: &mut [T],
    dbias: Option<&mut [T]>,
    d: &Dims,
    exec: &Exec,
) -> Result<(), Error> {
    require_len("weight", weight, d.outputs * d.inputs * d.taps)?;
    require_len("dweight", dweight, weight.len())?;
    let (mut by_tap, mut dby_tap) = (zeros(weight.len())?, zeros(weight.len())?);
    transpose(weight, &mut by_tap, d.taps, exec);
    pointwise_conv::backward(dmaps, x, &by_tap, dx, &mut dby_tap, dbias, &d.pointwise, exec)?; // (B1) (B2) (B3)
    transpose(&dby_tap, dweight, d.outputs * d.inputs, exec);
    Ok(())
}

/// x (rows, columns) -> y (columns, rows).
fn transpose<T: Real>(x: &[T], y: &mut [T], columns: usize, exec: &Exec) {
    let rows = x.len() / columns.max(1);
    exec.run(Transpose { x, x_pitch: columns, rows, columns, y, y_pitch: rows });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{difference, each_exec, grid, random, unwritten};

    fn check<T: Real>(n: usize, c: usize, o: usize, (kh, kw): (usize, usize), p: usize) {
        let taps = kh * kw;
        let d = Dims::new(&[n, c, p, 1], &[o, c, kh, kw], Some(&[taps, o])).expect("sizes fit");
        let (x, weight, bias, dy) = (
            random::<T>(n * c * p, 1),
            random::<T>(o * c * taps, 2),
            random::<T>(taps * o, 3),
            random::<T>(n * taps * o * p, 4),
        );
        let (mut y, mut dx, mut dweight, mut dbias) =
            (vec![T::ZERO; dy.len()], vec![T::ZERO; x.len()], vec![T::ZERO; weight.len()], vec![T::ZERO; taps * o]);
        for (n, row, j) in grid([n, taps * o, p]) {
            let (m, i, at) = (row / o, row % o, (n * taps * o + row) * p + j);
            y[at] = bias[row];
            dbias[row] += dy[at]; // (B1)
            for k in 0..c {
                let (w, x_at) = ((i * c + k) * taps + m, (n * c + k) * p + j);
                y[at] += weight[w] * x[x_at]; // (F1)
                dweight[w] += dy[at] * x[x_at]; // (B2)
                dx[x_at] += weight[w] * dy[at]; // (B3)
            }
        }
        each_exec(|exec| {
            let mut found = [unwritten(y.len()), unwritten(dx.len()), unwritten(dweight.len()), unwritten(dbias.len())];
            let [y1, dx1, dweight1, dbias1] = &mut found;
            forward(&x, &weight, Some(&bias), y1, &d, exec).expect("forward runs");
            backward(&dy, &x, &weight, dx1, dweight1, Some(dbias1), &d, exec).expect("backward runs");
            for (found, expected) in found.iter().zip([&y, &dx, &dweight, &dbias]) {
                assert!(difference(found, expected) < 1e-5, "{d:?} {:?}", exec.level());
            }
        });
    }

    #[test]
    fn literal_loops() {
        for (n, c, o) in grid([3, 4, 4]) {
            check::<f64>(n, c, o, (2, 3), 7);
        }
        check::<f32>(2, 5, 3, (3, 3), 49);
        check::<f32>(1, 2, 3, (1, 1), 0);
        check::<f64>(3, 17, 16, (7, 1), 33);
    }

    #[test]
    fn errors() {
        assert!(
            Dims::new(&[1, 2, 3], &[1, 2, 1, 1], None).is_err()
                && Dims::new(&[1, 2, 3, 3], &[1, 2, 0, 1], None).is_err()
        );
        assert!(
            Dims::new(&[1, 2, 3, 3], &[4, 3, 1, 1], None).is_err()
                && Dims::new(&[1, 2, 3, 3], &[4, 2, 3, 3], Some(&[4])).is_err()
        );
    }
}
