//! One gate for the pixels of a task.

use super::{Arguments, Dims};
use crate::gemm::{PANEL, Share};
use crate::lanes::{Isa, Task, V, Vector};
use crate::real::Real;

/// p_{k+1} = scale·f_k·u_k, into panels or, at the end of the chain, into y                                                 (F2) (F3)
pub(super) struct Gate<'a, 'b, T> {
    pub k: usize,
    pub arguments: &'a Arguments<'a, T>,
    pub u: &'a mut Share<'b, T>,
    pub to: To<'a, 'b, T>,
    pub d: &'a Dims,
}

/// Where a product goes: to the panels of the next projection, or to the map that leaves the chain.
pub(super) enum To<'a, 'b, T> {
    Panels(&'a mut [T]),
    Map(&'a mut Share<'b, T>),
}

impl<T: Real> Task for Gate<'_, '_, T> {
    type Out = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        let Gate { k, arguments, u, mut to, d } = self;
        let (rows, pixels, columns) = (d.width(k), d.pixels(), u.columns());
        let mut column = columns.start;
        while column < columns.end {
            let (image, inside) = (column / pixels, column % pixels);
            let n = (pixels - inside).min(columns.end - column);
            let mut u_part = u.from_column(column);
            for r in 0..rows {
                let f = &arguments.filtered[(image * d.gates() + d.before(k) + r) * pixels + inside..][..n];
                let u_row: &[T] = if k == 0 {
                    &arguments.p0[(image * rows + r) * pixels + inside..][..n]
                } else {
                    u_part.row(d.row(k) + r, 0..n)
                };
                let panels = match &mut to {
                    To::Panels(panels) => panels,
                    To::Map(y) => {
                        times::<T, I>(arguments.scale, f, u_row, y.from_column(column).row(r, 0..n));
                        continue;
                    }
                };
                let mut done = 0;
                while done < n {
                    let at = column - columns.start + done;
                    let len = (PANEL - at % PANEL).min(n - done);
                    let start = (at / PANEL * rows + r) * PANEL + at % PANEL;
                    let (f, u_row) = (&f[done..done + len], &u_row[done..done + len]);
                    times::<T, I>(arguments.scale, f, u_row, &mut panels[start..start + len]);
                    done += len;
                }
            }
            column += n;
        }
    }
}

/// y = (a·b)·c
#[inline(always)]
pub(super) fn times<T: Real, I: Isa>(a: T, b: &[T], c: &[T], y: &mut [T]) {
    let (lanes, len, a) = (V::<T, I>::LANES, y.len(), V::<T, I>::splat(a));
    let (b, c) = (&b[..len], &c[..len]);
    let mut k = 0;
    while k + lanes <= len {
        (a * V::<T, I>::load(&b[k..]) * V::<T, I>::load(&c[k..])).store(&mut y[k..]);
        k += lanes;
    }
    if k < len {
        let n = len - k;
        (a * V::<T, I>::load_partial(&b[k..], n) * V::<T, I>::load_partial(&c[k..], n)).store_partial(&mut y[k..], n);
    }
}
