//! Positional term of ACmix's attention: a 1×1 convolution of the coordinates.
//!
//! Shapes       weight (d, 2, 1, 1), bias (d,) or none, size (H, W) -> pe (d, H, W)
//! Forward      (F1) L₀[j] = −1 + 2j/(W−1), L₁[i] = −1 + 2i/(H−1), −1 where the axis has length 1
//!              (F2) pe[e, i, j] = weight[e, 0]·L₀[j] + weight[e, 1]·L₁[i] + bias[e]
//! Backward     (B1) dweight[e, 0] = Σ dpe[e]·L₀, dweight[e, 1] = Σ dpe[e]·L₁   (B2) dbias[e] = Σ dpe[e]
//! Constraints  (C1) weight (d, 2, 1, 1)   (C2) bias (d,)

use crate::error::{Error, require};
use crate::exec::{Buffer, Exec, zeros};
use crate::lanes::{self, Isa, Task};
use crate::planes::{product, require_len};
use crate::real::Real;

pub struct Dims {
    pub channels: usize,
    pub height: usize,
    pub width: usize,
}

impl Dims {
    pub fn new(weight: &[usize], bias: Option<&[usize]>, (height, width): (usize, usize)) -> Result<Dims, Error> {
        let &[channels, 2, 1, 1] = weight else {
            return Err(Error::Shape(format!("(C1) weight: (d, 2, 1, 1) expected, got shape {weight:?}")));
        };
        require(bias.is_none_or(|bias| bias == [channels]), || {
            format!("(C2) bias: ({channels},) expected, got shape {:?}", bias.unwrap_or_default())
        })?;
        product(&[channels, 2, height, width])?;
        Ok(Dims { channels, height, width })
    }

    fn plane(&self) -> usize {
        self.height * self.width
    }
}

/// `len` points from −1 to 1; a single point is −1.                                                            (F1)
fn coordinates<T: Real>(len: usize) -> Result<Buffer<T>, Error> {
    let mut line = zeros::<T>(len)?;
    let steps = T::from_usize(len.saturating_sub(1).max(1));
    for (j, x) in line.iter_mut().enumerate() {
        *x = T::from_usize(2 * j) / steps - T::ONE;
    }
    Ok(line)
}

pub fn forward<T: Real>(weight: &[T], bias: Option<&[T]>, pe: &mut [T], d: &Dims, exec: &Exec) -> Result<(), Error> {
    require_len("weight", weight, d.channels * 2)?;
    bias.map_or(Ok(()), |bias| require_len("bias", bias, d.channels))?;
    require_len("pe", pe, d.channels * d.plane())?;
    if pe.is_empty() {
        return Ok(());
    }
    let (across, down) = (coordinates::<T>(d.width)?, coordinates::<T>(d.height)?);
    let tasks = pe.chunks_mut(d.plane()).zip(weight.chunks_exact(2)).enumerate();
    exec.for_each(d.channels * d.plane() / 2, tasks, |(e, (pe, weight))| {
        let bias = bias.map_or(T::ZERO, |bias| bias[e]);
        for (row, &y) in pe.chunks_exact_mut(d.width).zip(down.iter()) {
            for (pe, &x) in row.iter_mut().zip(across.iter()) {
                *pe = weight[0] * x + weight[1] * y + bias; // (F2)
            }
        }
    })
}

/// `dbias` may be left out when the forward had no bias.
pub fn backward<T: Real>(
    dpe: &[T],
    dweight: &mut [T],
    dbias: Option<&mut [T]>,
    d: &Dims,
    exec: &Exec,
) -> Result<(), Error> {
    require_len("dpe", dpe, d.channels * d.plane())?;
    require_len("dweight", dweight, d.channels * 2)?;
    let mut unused = zeros::<T>(if dbias.is_none() { d.channels } else { 0 })?;
    let dbias = dbias.unwrap_or(&mut unused);
    require_len("dbias", dbias, d.channels)?;
    let (across, down) = (&coordinates::<T>(d.width)?, &coordinates::<T>(d.height)?);
    let tasks = dweight.chunks_exact_mut(2).zip(dbias).enumerate();
    exec.for_each(dpe.len() / 2, tasks, |(e, (dweight, dbias))| {
        let dpe = &dpe[e * d.plane()..][..d.plane()];
        let [across, down, all] = exec.run(Sums { dpe, across, down });
        (dweight[0], dweight[1], *dbias) = (across, down, all);
    })
}

/// Σ dpe·L₀, Σ dpe·L₁ and Σ dpe over one plane.
struct Sums<'a, T> {
    dpe: &'a [T],
    across: &'a [T],
    down: &'a [T],
}

impl<T: Real> Task for Sums<'_, T> {
    type Out = [T; 3];
    #[inline(always)]
    fn run<I: Isa>(self) -> [T; 3] {
        let mut sums = [T::ZERO; 3];
        for (row, &y) in self.dpe.chunks_exact(self.across.len().max(1)).zip(self.down) {
            let row_sum = lanes::sum::<T, I>(row);
            sums[0] += lanes::dot::<T, I>(row, self.across); // (B1)
            sums[1] += row_sum * y;
            sums[2] += row_sum; // (B2)
        }
        sums
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{difference, each_exec, grid, random, unwritten};

    fn line<T: Real>(k: usize, len: usize) -> T {
        T::from_f64(if len == 1 { -1.0 } else { -1.0 + 2.0 * k as f64 / (len - 1) as f64 })
    }

    fn check<T: Real>([channels, height, width]: [usize; 3], with_bias: bool, tolerance: f64) {
        let d = Dims::new(&[channels, 2, 1, 1], with_bias.then_some(&[channels]), (height, width)).unwrap();
        let (weight, bias) = (random::<T>(2 * channels, 1), random::<T>(channels, 2));
        let dpe = random::<T>(channels * height * width, 3);
        let mut pe_expected = unwritten::<T>(dpe.len());
        let (mut dweight_expected, mut dbias_expected) = (vec![T::ZERO; 2 * channels], vec![T::ZERO; channels]);
        for (e, i, j) in grid([channels, height, width]) {
            let at = (e * height + i) * width + j;
            let (x, y) = (line::<T>(j, width), line::<T>(i, height));
            let b = if with_bias { bias[e] } else { T::ZERO };
            pe_expected[at] = weight[2 * e] * x + weight[2 * e + 1] * y + b;
            dweight_expected[2 * e] += dpe[at] * x;
            dweight_expected[2 * e + 1] += dpe[at] * y;
            dbias_expected[e] += dpe[at];
        }
        each_exec(|exec| {
            let mut pe = unwritten::<T>(dpe.len());
            let (mut dweight, mut dbias) = (unwritten::<T>(2 * channels), unwritten::<T>(channels));
            forward(&weight, with_bias.then_some(&bias), &mut pe, &d, exec).unwrap();
            backward(&dpe, &mut dweight, with_bias.then_some(&mut dbias), &d, exec).unwrap();
            assert!(difference(&pe, &pe_expected) < tolerance, "{channels} {height}x{width}");
            assert!(difference(&dweight, &dweight_expected) < tolerance, "{channels} {height}x{width}");
            if with_bias {
                assert!(difference(&dbias, &dbias_expected) < tolerance);
            }
        });
    }

    #[test]
    fn standard() {
        for (channels, height, width) in grid([3, 5, 20]) {
            check::<f32>([channels, height, width], true, 1e-6);
            check::<f64>([channels, height, width], false, 1e-15);
        }
        check::<f64>([5, 61, 67], true, 1e-13);
    }

    #[test]
    fn c1_weight() {
        assert!(Dims::new(&[3, 3, 1, 1], None, (2, 2)).is_err() && Dims::new(&[3, 2], None, (2, 2)).is_err());
    }

    #[test]
    fn c2_bias() {
        assert!(Dims::new(&[3, 2, 1, 1], Some(&[2]), (2, 2)).is_err());
    }
}
