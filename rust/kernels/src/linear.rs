//! Linear map of the last axis: the same matrix for every token.
//!
//! Shapes       x (..., C), weight (O, C), bias (O,) -> y (..., O); with channels_first x (..., T, C) -> y (..., O, T)
//! Forward      (F1) y = x weightᵀ + bias    (F2) channels_first: the transpose, T tokens as one map of each channel
//! Backward     (B1) dbias = Σ dy    (B2) dweight = dyᵀ x, both over all tokens    (B3) dx = dy weight    (B4) dy of (F2) transposed first
//! Constraints  (C1) x has at least one axis    (C2) weight is (O, C)    (C3) bias, if given, is (O,)
//!              (C4) with channels_first x has at least two axes

mod backward;
mod matrix;

use crate::error::{Error, require};
use crate::exec::{Exec, zeros};
use crate::gemm::{DEPTH, Matrix, Product, Transpose, Turned};
use crate::lanes::{self, Isa, Task};
use crate::planes::{product, require_len};
use crate::real::Real;
use crate::regroup;
use crate::sums;

use matrix::{GRAM_COLUMNS, Gram, multiply};

#[derive(Clone, Copy, Debug)]
pub struct Dims {
    tokens: usize,
    inputs: usize,
    outputs: usize,
    /// With channels_first: T.
    map: Option<usize>,
}

impl Dims {
    pub fn new(x: &[usize], weight: &[usize], bias: Option<&[usize]>, channels_first: bool) -> Result<Dims, Error> {
        let Some((&inputs, tokens)) = x.split_last() else {
            return Err(Error::Shape("(C1) x: at least one axis expected, got none".to_string()));
        };
        let outputs = weight.first().copied().unwrap_or(0);
        require(weight == [outputs, inputs], || format!("(C2) weight: (O, {inputs}) expected, got shape {weight:?}"))?;
        require(bias.is_none_or(|b| b == [outputs]), || {
            format!("(C3) bias: ({outputs},) expected, got shape {bias:?}")
        })?;
        let map = tokens.last().copied().filter(|_| channels_first);
        require(map.is_some() || !channels_first, || format!("(C4) x: at least two axes expected, got shape {x:?}"))?;
        product(x)?;
        product(weight)?;
        let tokens = product(tokens)?;
        product(&[tokens, outputs])?;
        Ok(Dims { tokens, inputs, outputs, map })
    }

    /// The last axes of y in the place of those of x.
    pub fn output(&self, x: &mut [usize]) {
        match (self.map, x) {
            (Some(map), [.., rows, columns]) => (*rows, *columns) = (self.outputs, map),
            (_, [.., last]) => *last = self.outputs,
            _ => {}
        }
    }

    fn check<T>(&self, x: &[T], weight: &[T], bias: Option<&[T]>, y: &[T]) -> Result<(), Error> {
        require_len("x", x, self.tokens * self.inputs)?;
        require_len("weight", weight, self.outputs * self.inputs)?;
        bias.map_or(Ok(()), |bias| require_len("bias", bias, self.outputs))?;
        require_len("y", y, self.tokens * self.outputs)
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
    d.check(x, weight, bias, y)?;
    let Dims { tokens, inputs, outputs, map } = *d;
    let Some(columns) = map else {
        return multiply(x, Matrix::Columns(weight), bias, y, (inputs, outputs), exec); // (F1)
    };
    let images = tokens / columns.max(1);
    let product = Product { images, groups: 1, rows: outputs, depth: inputs, block: DEPTH, columns };
    product.run(Matrix::Rows(weight), &Turned { x, depth: inputs }, bias, y, exec) // (F2)
}

#[allow(clippy::too_many_arguments)]
pub fn backward<T: Real>(
    dy: &[T],
    x: &[T],
    weight: &[T],
    dx: &mut [T],
    dweight: &mut [T],
    dbias: Option<&mut [T]>,
    d: &Dims,
    exec: &Exec,
) -> Result<(), Error> {
    d.check(x, weight, dbias.as_deref(), dy)?;
    require_len("dx", dx, x.len())?;
    require_len("dweight", dweight, weight.len())?;
    if backward::serves(d) {
        return backward::backward(dy, x, weight, dx, dweight, dbias, d, exec);
    }
    if let Some(map) = d.map {
        let mut rows = zeros(dy.len())?;
        let maps = [d.tokens / map.max(1), d.outputs * map];
        regroup::forward(dy, &mut rows, &regroup::Dims::new(&maps, d.outputs.max(1), 1, false)?, exec)?; // (B4)
        return backward(&rows, x, weight, dx, dweight, dbias, &Dims { map: None, ..*d }, exec);
    }
    if let Some(dbias) = dbias {
        sums::columns(dy, d.tokens, d.outputs, dbias, exec)?; // (B1)
    }
    weight_gradient(dy, x, dweight, d, exec)?; // (B2)
    multiply(dy, Matrix::Rows(weight), None, dx, (d.outputs, d.inputs), exec) // (B3)
}

/// dweight or its transpose, whichever needs fewer numbers moved: one of x and dy is transposed, once for every block of columns.
fn weight_gradient<T: Real>(dy: &[T], x: &[T], dweight: &mut [T], d: &Dims, exec: &Exec) -> Result<(), Error> {
    let again = |rows: usize, columns: usize| d.tokens.saturating_mul(rows * columns.div_ceil(GRAM_COLUMNS));
    let turned = again(d.inputs, d.outputs).saturating_add(2 * d.inputs * d.outputs) < again(d.outputs, d.inputs);
    let (a, m, b, n) = if turned { (x, d.inputs, dy, d.outputs) } else { (dy, d.outputs, x, d.inputs) };
    let gram = Gram::new(d.tokens, m, n);
    if dweight.is_empty() || (gram.parts() == 1 && !turned) {
        return gram.run(a, b, dweight, exec);
    }
    let mut parts = zeros(product(&[gram.parts(), m, n])?)?;
    gram.run(a, b, &mut parts, exec)?;
    let (total, rest) = parts.split_at_mut(m * n);
    let each = 1 << 13;
    let tasks = total.chunks_mut(each).enumerate();
    exec.for_each(rest.len() / 4, tasks, |(at, total)| {
        for part in rest.chunks_exact(m * n) {
            exec.run(Add { x: &part[at * each..][..total.len()], y: total });
        }
    })?;
    if turned {
        let rows = Exec::batch(d.inputs);
        let tasks = dweight.chunks_mut(rows * d.inputs).enumerate();
        return exec.for_each(m * n, tasks, |(at, y)| {
            let columns = y.len() / m;
            exec.run(Transpose { x: &total[at * rows..], x_pitch: n, rows: m, columns, y, y_pitch: m });
        });
    }
    dweight.copy_from_slice(total);
    Ok(())
}

struct Add<'a, T> {
    x: &'a [T],
    y: &'a mut [T],
}

impl<T: Real> Task for Add<'_, T> {
    type Out = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        lanes::add_assign::<T, I>(self.x, self.y);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{difference, each_exec, grid, random, unwritten};

    fn check<T: Real>(t: usize, c: usize, o: usize, maps: Option<usize>) {
        let x_shape = maps.map_or(vec![t, c], |n| vec![n, t, c]);
        let d = Dims::new(&x_shape, &[o, c], Some(&[o]), maps.is_some()).expect("sizes fit");
        let mut shape = x_shape.clone();
        d.output(&mut shape);
        assert_eq!(shape, maps.map_or(vec![t, o], |n| vec![n, o, t]));
        let tokens = maps.unwrap_or(1) * t;
        let (x, weight, bias, dy) =
            (random::<T>(tokens * c, 1), random::<T>(o * c, 2), random::<T>(o, 3), random::<T>(tokens * o, 4));
        let (mut y, mut dx, mut dweight, mut dbias) =
            (vec![T::ZERO; tokens * o], vec![T::ZERO; tokens * c], vec![T::ZERO; o * c], vec![T::ZERO; o]);
        for (n, i) in (0..tokens).flat_map(|n| (0..o).map(move |i| (n, i))) {
            let at = if maps.is_some() { (n / t * o + i) * t + n % t } else { n * o + i }; // (F2) (B4)
            y[at] = bias[i];
            dbias[i] += dy[at]; // (B1)
            for k in 0..c {
                y[at] += weight[i * c + k] * x[n * c + k]; // (F1)
                dweight[i * c + k] += dy[at] * x[n * c + k]; // (B2)
                dx[n * c + k] += weight[i * c + k] * dy[at]; // (B3)
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
        for (t, c, o) in grid([3, 4, 4]) {
            check::<f64>(t, c, o, None);
            check::<f64>(t, c, o, Some(2));
            check::<f64>(t, c, o, Some(0));
        }
        for (t, c, o) in [(30, 33, 15), (1, 300, 29), (2100, 3, 40), (300, 40, 3), (5, 20, 300), (9000, 2, 3)] {
            check::<f32>(t, c, o, None);
            check::<f64>(t, c, o, None);
        }
        for (n, t, c, o) in [(3, 30, 33, 15), (40, 1, 30, 29), (2, 1050, 3, 40), (7, 43, 40, 3), (2, 5, 20, 300)] {
            check::<f32>(t, c, o, Some(n));
            check::<f64>(t, c, o, Some(n));
        }
    }

    #[test]
    fn c1_c2_c3_c4_shapes() {
        let refused =
            |x: &[usize], weight: &[usize], bias: Option<&[usize]>| Dims::new(x, weight, bias, false).is_err();
        assert!(refused(&[], &[1, 1], None) && refused(&[2, 3], &[2, 4], None));
        assert!(refused(&[3], &[3], None) && refused(&[2, 3], &[4, 3], Some(&[3])));
        assert!(refused(&[0, usize::MAX, 3], &[4, 3], None));
        assert!(Dims::new(&[3], &[4, 3], None, true).is_err() && Dims::new(&[3], &[4, 3], None, false).is_ok());
    }
}
