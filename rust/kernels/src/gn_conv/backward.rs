//! gnConv walked back.

use std::ops::Range;

use super::{Arguments, Dims, Saved};
use crate::conv2d;
use crate::error::Error;
use crate::exec::{Exec, zeros};
use crate::gate_chain;
use crate::gemm::{Ahead, DEPTH, Matrix, Product, Source, in_images, into_panels};
use crate::lanes::Isa;
use crate::planes::require_len;
use crate::real::Real;

pub fn backward<T: Real>(
    dy: &[T],
    a: &Arguments<&[T]>,
    scale: T,
    saved: &Saved<&[T]>,
    g: Arguments<&mut [T]>,
    d: &Dims,
    exec: &Exec,
) -> Result<(), Error> {
    let Saved { p0, q, filtered, u } = *saved;
    d.check(a, [p0, q, filtered])?;
    require_len("dproj_in_weight", g.proj_in_weight, a.proj_in_weight.len())?;
    let chain = gate_chain::Arguments { p0, filtered, weight: a.pws_weight, bias: a.pws_bias, scale };
    let wide = d.chain.output().iter().product();
    // Work space of everything in turn: p_n, what the chain wants, dq.
    let mut space = zeros(gate_chain::work_space(&d.chain).max(wide).max(d.lens[1]))?;
    // dp_n waits where dx will be, if it fits.
    let dx = g.x;
    let mut between = zeros(if d.out.is_some() && dx.len() < wide { wide } else { 0 })?;
    let between = if between.is_empty() { &mut *dx } else { &mut between };
    let mut dpn = dy;
    if let (Some(weight), Some(dweight), Some(out)) = (a.proj_out_weight, g.proj_out_weight, &d.out) {
        let pn = &mut space[..wide];
        d.chain.check_inputs(&chain, u)?;
        gate_chain::gated(d.chain.order - 1, &chain, u, pn, &d.chain, exec)?; // (F3) again
        let between = &mut between[..wide];
        conv2d::backward(dy, pn, weight, between, dweight, g.proj_out_bias, out, exec)?; // (B1)
        dpn = between;
    }
    let (mut dp0, mut df) = (zeros(d.lens[0])?, zeros(d.lens[1])?);
    let gradients = gate_chain::Gradients { p0: &mut dp0, filtered: &mut df, weight: g.pws_weight, bias: g.pws_bias };
    gate_chain::backward_in(&mut space, dpn, &chain, u, gradients, &d.chain, exec)?; // (B2)
    let dq = &mut space[..d.lens[1]];
    conv2d::backward(&df, q, a.dwconv_weight, dq, g.dwconv_weight, g.dwconv_bias, &d.filter, exec)?; // (B3)
    drop(df);
    let (to_p0, to_q) = g.proj_in_weight.split_at_mut(d.cut());
    conv2d::weight_gradient(&dp0, a.x, to_p0, &d.entry[0], exec)?; // (B4)
    conv2d::weight_gradient(dq, a.x, to_q, &d.entry[1], exec)?;
    if let Some(bias) = g.proj_in_bias {
        let (of_p0, of_q) = bias.split_at_mut(d.chain.first);
        conv2d::bias_gradient(&dp0, of_p0, &d.entry[0], exec)?;
        conv2d::bias_gradient(dq, of_q, &d.entry[1], exec)?;
    }
    input_gradient(&dp0, dq, a.proj_in_weight, dx, d, exec)
}

/// dx = proj_in_weightᵀ [dp₀, dq]                                                                                                   (B4)
fn input_gradient<T: Real>(
    dp0: &[T],
    dq: &[T],
    weight: &[T],
    dx: &mut [T],
    d: &Dims,
    exec: &Exec,
) -> Result<(), Error> {
    let (first, rows, pixels) = (d.chain.first, d.chain.first << d.chain.order, d.chain.pixels());
    require_len("dx", dx, d.chain.images * d.inputs * pixels)?;
    if dx.is_empty() {
        return Ok(());
    }
    let product =
        Product { images: d.chain.images, groups: 1, rows: d.inputs, depth: rows, block: DEPTH, columns: pixels };
    let stacked = Stacked { upper: dp0, lower: dq, first, rows, pixels };
    product.run(Matrix::Columns(weight), &stacked, None, dx, exec)
}

/// Two arrays of maps, the channels of one above those of the other: `first` of `rows`.
struct Stacked<'a, T> {
    upper: &'a [T],
    lower: &'a [T],
    first: usize,
    rows: usize,
    pixels: usize,
}

impl<T: Real> Source<T> for Stacked<'_, T> {
    fn scratch(&self, _: usize) -> Result<usize, Error> {
        Ok(0)
    }

    fn ahead(&self, _: usize, depth: Range<usize>, columns: Range<usize>) -> Ahead<'_, T> {
        in_images(columns, self.pixels).next().map_or(Ahead::NOTHING, |(image, inside, _)| {
            let arrays = [(self.upper, self.first, 0), (self.lower, self.rows - self.first, self.first)];
            let parts = arrays.map(|(x, all, before)| {
                let [start, end] = [depth.start, depth.end].map(|k| k.saturating_sub(before).min(all));
                (&x[((image * all + start) * self.pixels + inside.start).min(x.len())..], end - start)
            });
            Ahead::new(parts, self.pixels, inside.len())
        })
    }

    #[inline(always)]
    fn pack<I: Isa>(&self, _: usize, depth: Range<usize>, columns: Range<usize>, _: &mut [T], panels: &mut [T]) {
        let rest = self.rows - self.first;
        for (image, inside, before) in in_images(columns, self.pixels) {
            for (r, k) in depth.clone().enumerate() {
                let (x, row) = if k < self.first {
                    (self.upper, image * self.first + k)
                } else {
                    (self.lower, image * rest + k - self.first)
                };
                let from = &x[row * self.pixels..][inside.clone()];
                into_panels::<T, I>(from, before, (r, depth.len()), panels);
            }
        }
    }
}
