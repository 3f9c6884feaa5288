//! A map multiplied with the depthwise convolution of another.
//!
//! Shapes       p (N, C, H, W), q (N, C, H, W), weight (C, 1, kh, kw), bias (C,) -> y and f (N, C, H, W)
//! Forward      (F1) f = q * weight + bias, zero padding (⌊kh/2⌋, ⌊kw/2⌋)    (F2) y = p·f
//! Backward     (B1) dp = dy·f    (B2) df = dy·p    (B3) dq, dweight, dbias = backward of (F1)
//! Constraints  (C1) C, H, W ≥ 1, q of the shape of p    (C2) one kernel per channel    (C3) kh and kw are odd    (C4) bias is (C,)

use crate::conv2d;
use crate::error::{Error, require};
use crate::exec::{Exec, zeros};
use crate::lanes::{Isa, Task, V, Vector};
use crate::planes::require_len;
use crate::real::Real;

pub struct Dims {
    conv: conv2d::Dims,
    len: usize,
}

impl Dims {
    pub fn new(p: &[usize], q: &[usize], weight: &[usize], bias: Option<&[usize]>) -> Result<Dims, Error> {
        require(p.len() == 4 && p[1..].iter().all(|&n| n > 0) && p == q, || {
            format!("(C1) p, q: (N, C, H, W) with C, H, W >= 1 expected, both alike, got shapes {p:?} and {q:?}")
        })?;
        let conv = same(p, weight, bias)?;
        Ok(Dims { conv, len: p.iter().product() })
    }
}

/// The depthwise convolution that keeps the size of x (N, C, H, W).
pub(crate) fn same(x: &[usize], weight: &[usize], bias: Option<&[usize]>) -> Result<conv2d::Dims, Error> {
    let &[channels, 1, kh, kw] = weight else {
        return Err(Error::Shape(format!("(C2) weight: (C, 1, kh, kw) expected, got shape {weight:?}")));
    };
    require(channels == x[1], || format!("(C2) weight: {} kernels expected, got shape {weight:?}", x[1]))?;
    require(kh % 2 == 1 && kw % 2 == 1, || format!("(C3) weight: an odd kernel expected, got shape {weight:?}"))?;
    conv2d::Dims::new(x, weight, bias, (1, 1), (kh / 2, kw / 2), (1, 1), channels)
}

#[allow(clippy::too_many_arguments)]
pub fn forward<T: Real>(
    p: &[T],
    q: &[T],
    weight: &[T],
    bias: Option<&[T]>,
    y: &mut [T],
    f: &mut [T],
    d: &Dims,
    exec: &Exec,
) -> Result<(), Error> {
    require_len("p", p, d.len)?;
    require_len("y", y, d.len)?;
    conv2d::forward(q, weight, bias, f, &d.conv, exec)?; // (F1)
    let each = 1 << 14;
    let tasks = y.chunks_mut(each).zip(p.chunks(each).zip(f.chunks(each)));
    exec.for_each(d.len / 2, tasks, |(y, (p, f))| exec.run(Times { a: p, b: f, y })) // (F2)
}

#[allow(clippy::too_many_arguments)]
pub fn backward<T: Real>(
    dy: &[T],
    p: &[T],
    q: &[T],
    weight: &[T],
    f: &[T],
    [dp, dq, dweight]: [&mut [T]; 3],
    dbias: Option<&mut [T]>,
    d: &Dims,
    exec: &Exec,
) -> Result<(), Error> {
    for (name, x) in [("dy", dy), ("p", p), ("f", f), ("dp", dp)] {
        require_len(name, x, d.len)?;
    }
    let mut df = zeros(d.len)?;
    let each = 1 << 14;
    let read = dy.chunks(each).zip(p.chunks(each)).zip(f.chunks(each));
    let tasks = dp.chunks_mut(each).zip(df.chunks_mut(each)).zip(read);
    exec.for_each(d.len, tasks, |((dp, df), ((dy, p), f))| {
        exec.run(Times { a: dy, b: f, y: dp }); // (B1)
        exec.run(Times { a: dy, b: p, y: df }); // (B2)
    })?;
    conv2d::backward(&df, q, weight, dq, dweight, dbias, &d.conv, exec) // (B3)
}

/// y = a·b
struct Times<'a, T> {
    a: &'a [T],
    b: &'a [T],
    y: &'a mut [T],
}

impl<T: Real> Task for Times<'_, T> {
    type Out = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        let (lanes, len) = (V::<T, I>::LANES, self.y.len());
        let mut k = 0;
        while k + lanes <= len {
            (V::<T, I>::load(&self.a[k..]) * V::<T, I>::load(&self.b[k..])).store(&mut self.y[k..]);
            k += lanes;
        }
        let (n, b) = (len - k, &self.b[k..]);
        (V::<T, I>::load_partial(&self.a[k..], n) * V::<T, I>::load_partial(b, n)).store_partial(&mut self.y[k..], n);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{each_exec, random, unwritten};

    #[test]
    fn a_kernel_of_one_at_its_centre_leaves_the_product() {
        let len = 2 * 3 * 35;
        let (p, q, dy) = (random::<f64>(len, 1), random::<f64>(len, 2), random::<f64>(len, 3));
        let mut weight = vec![0.0; 3 * 15];
        for c in 0..3 {
            weight[15 * c + 7] = 1.0;
        }
        let d = Dims::new(&[2, 3, 5, 7], &[2, 3, 5, 7], &[3, 1, 3, 5], Some(&[3])).unwrap();
        each_exec(|exec| {
            let (mut y, mut f) = (unwritten::<f64>(len), unwritten::<f64>(len));
            forward(&p, &q, &weight, Some(&[0.0; 3]), &mut y, &mut f, &d, exec).unwrap();
            assert!(f == q && (0..len).all(|k| y[k] == p[k] * q[k]));
            let (mut dp, mut dq, mut dweight, mut dbias) =
                (unwritten::<f64>(len), unwritten::<f64>(len), unwritten::<f64>(45), unwritten::<f64>(3));
            let grads = [&mut dp[..], &mut dq, &mut dweight];
            backward(&dy, &p, &q, &weight, &f, grads, Some(&mut dbias), &d, exec).unwrap();
            for k in 0..len {
                assert!(dp[k] == dy[k] * q[k] && dq[k] == dy[k] * p[k]); // (B1) (B2)
            }
            for c in 0..3 {
                let own = |k: &usize| k / 35 % 3 == c;
                let sum: f64 = (0..len).filter(own).map(|k| dy[k] * p[k] * q[k]).sum();
                let sum_df: f64 = (0..len).filter(own).map(|k| dy[k] * p[k]).sum();
                assert!((dweight[15 * c + 7] - sum).abs() < 1e-12 && (dbias[c] - sum_df).abs() < 1e-12); // (B3)
            }
        });
        let p = &[2, 3, 5, 7][..];
        assert!(
            Dims::new(p, &[2, 3, 5, 6], &[3, 1, 3, 3], None).is_err() && Dims::new(p, p, &[3, 1, 2, 3], None).is_err()
        );
        assert!(Dims::new(p, p, &[2, 1, 3, 3], None).is_err() && Dims::new(p, p, &[3, 1, 3, 3], Some(&[2])).is_err());
        assert!(Dims::new(&[2, 0, 5, 7], &[2, 0, 5, 7], &[0, 1, 3, 3], None).is_err());
    }
}
