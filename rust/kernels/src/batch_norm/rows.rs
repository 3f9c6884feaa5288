//! The channels of one task, each from its statistics to its last element. The equations are those of `batch_norm`.

use super::channel::{Channels, InputGradient, Normalised, Planes, ProductSum, SquareSum, Sum, write};
use super::{Dims, Saved};
use crate::elementwise::{Function, InPlace};
use crate::exec::{Buffer, Exec};
use crate::fill::Fill;
use crate::gemm::Share;
use crate::lanes::{Row, Vector};
use crate::real::Real;

/// A function of every element behind the norm.
#[derive(Clone, Copy)]
pub(crate) struct Behind<'a, T, F> {
    pub f: F,
    /// The channels that are read next, to ask for on the way.
    pub next: Option<Channels<'a, T>>,
}

/// No function behind it.
#[derive(Clone, Copy)]
pub(crate) struct Identity;

impl Function for Identity {
    #[inline(always)]
    fn value<A: Vector>(self, x: A) -> A {
        x
    }

    #[inline(always)]
    fn gradient<A: Vector>(self, dy: A, _: A) -> A {
        dy
    }
}

/// All vectors and x begin with the first row of y.
#[allow(clippy::too_many_arguments)]
pub(crate) fn forward_rows<T: Real, F: Function>(
    behind: Option<Behind<T, F>>,
    x: Channels<T>,
    [weight, bias]: [&[T]; 2],
    y: &mut Share<T>,
    [mean, var]: [&mut [T]; 2],
    d: &Dims,
    [held, result, normal]: &mut [Buffer<T>; 3],
    exec: &Exec,
) {
    let (count, large) = (T::from_usize(d.count()), y.past() && !d.is_small());
    for (c, row) in y.rows().enumerate() {
        let x = x.planes(c, d, held);
        if d.training {
            mean[c] = exec.run(Sum(x)) / count; // (F1)
            var[c] = exec.run(SquareSum(x, mean[c])) / count; // (F2)
        }
        let (m, r, weight, bias) = (mean[c], d.inverse(var[c]), weight[c], bias[c]);
        write(y, row, d, result, |n, y| {
            let terms = Normalised { x: x.get(n), m, r, weight, bias };
            let Some(Behind { f, next }) = behind else {
                return exec.run(Fill { terms, y, large });
            };
            // The function by itself finds all registers free.
            let next = next.map_or(&[][..], |x| x.plane(n, c, d));
            if large {
                exec.run(Fill { terms, y: &mut *normal, large: false });
                exec.run(InPlace { f, dy: None, y: normal, to: Some(Row::new(y, large)), next });
            } else {
                exec.run(Fill { terms, y: &mut *y, large });
                exec.run(InPlace { f, dy: None, y, to: None, next });
            }
        });
    }
}

/// All vectors, dy and x begin with the first row of dx.
pub(crate) fn backward_rows<T: Real, F: Function>(
    behind: Option<(Behind<T, F>, &[T])>,
    saved: Saved<T, Channels<T>>,
    dx: &mut Share<T>,
    [dweight, dbias]: [&mut [T]; 2],
    d: &Dims,
    [held_dy, held_x, result, upstream]: &mut [Buffer<T>; 4],
    exec: &Exec,
) {
    let (count, large) = (T::from_usize(d.count()), dx.past());
    for (c, row) in dx.rows().enumerate() {
        let (dy, x) = (saved.dy.planes(c, d, held_dy), saved.x.planes(c, d, held_x));
        let (m, r, weight) = (saved.mean[c], d.inverse(saved.var[c]), saved.weight[c]);
        let dy = match behind {
            Some((Behind { f, next }, bias)) => {
                let z = Normalised { x: &[], m, r, weight, bias: bias[c] };
                for (n, y) in upstream.chunks_exact_mut(x.len.max(1)).enumerate() {
                    exec.run(Fill { terms: Normalised { x: x.get(n), ..z }, y: &mut *y, large: false });
                    let next = next.map_or(&[][..], |x| x.plane(n, c, d));
                    exec.run(InPlace { f, dy: Some(dy.get(n)), y, to: None, next });
                }
                Planes { x: upstream, step: x.len, ..x }
            }
            None => dy,
        };
        dbias[c] = exec.run(Sum(dy)); // (B1)
        dweight[c] = exec.run(ProductSum { dy, x, m, r }); // (B2)
        let share = |total: T| if d.training { weight * total / count } else { T::ZERO };
        let (mean, slope, training) = (share(dbias[c]), share(dweight[c]), d.training);
        write(dx, row, d, result, |n, dx| {
            let terms = InputGradient { dy: dy.get(n), x: x.get(n), m, r, weight, mean, slope, training };
            exec.run(Fill { terms, y: dx, large });
        });
    }
}
