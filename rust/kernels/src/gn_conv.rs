//! gnConv, the recursive gated convolution.
//!
//! Shapes       x (N, C_in, H, W), proj_in_weight (2·C, C_in, 1, 1), dwconv_weight (2·C − C₀, 1, kh, kw), proj_out_weight (O, C, 1, 1),
//!              pws flat as in `gate_chain`, biases one value per output channel -> y (N, O, H, W), or (N, C, H, W) without proj_out;
//!              p₀ (N, C₀, H, W), q and f (N, 2·C − C₀, H, W), u (N, 2·C − 2·C₀, H, W); C₀ = C/2^(n−1)
//! Forward      (F1) [p₀, q] = proj_in of x    (F2) f = q * dwconv_weight + dwconv_bias    (F3) p_n = gate_chain(p₀, f)
//!              (F4) y = proj_out of p_n
//! Backward     (B1) dp_n, dproj_out    (B2) dp₀, df, dpws    (B3) dq, ddwconv    (B4) dx, dproj_in on [dp₀, dq]
//! Constraints  (C1) a map    (C2) 2ⁿ divides the rows of proj_in    (C3) one kernel per channel of q    (C4) odd    (C5) proj_out reads C
//!              (C6) (C7) sizes of pws and the biases    (C8) scale is checked by the caller
//!
//! p₀ and q are made by two products, so that each is an array of its own; on the way back one product reads both. The chain projects its
//! result out tile by tile.

mod backward;
#[cfg(test)]
mod tests;

use crate::conv2d;
use crate::error::{Error, require};
use crate::exec::Exec;
use crate::gate_chain;
use crate::gated_conv::same;
use crate::planes::{product, require_len};
use crate::real::Real;

pub use backward::backward;

/// The arrays of a call: their shapes, their elements, or their gradients.
#[derive(Clone, Copy)]
pub struct Arguments<A> {
    pub x: A,
    pub proj_in_weight: A,
    pub dwconv_weight: A,
    pub pws_weight: Option<A>,
    pub proj_out_weight: Option<A>,
    pub proj_in_bias: Option<A>,
    pub dwconv_bias: Option<A>,
    pub pws_bias: Option<A>,
    pub proj_out_bias: Option<A>,
}

/// What lies between x and y.
pub struct Saved<A> {
    pub p0: A,
    pub q: A,
    pub filtered: A,
    pub u: A,
}

pub struct Dims {
    /// proj_in for p₀ and for q.
    entry: [conv2d::Dims; 2],
    filter: conv2d::Dims,
    chain: gate_chain::Dims,
    out: Option<conv2d::Dims>,
    output: [usize; 4],
    inputs: usize,
    lens: [usize; 2],
}

impl Dims {
    pub fn new(shapes: &Arguments<&[usize]>, order: usize) -> Result<Dims, Error> {
        let x = shapes.x;
        let &[images, inputs, height, width] = x else {
            return Err(Error::Shape(format!("(C1) x: (N, C_in, H, W) expected, got shape {x:?}")));
        };
        require(height > 0 && width > 0, || format!("(C1) x: at least one pixel expected, got shape {x:?}"))?;
        let entry = shapes.proj_in_weight;
        let rows = entry.first().copied().unwrap_or(0);
        require(
            (1..=30).contains(&order) && entry == [rows, inputs, 1, 1] && rows > 0 && rows % (1 << order) == 0,
            || {
                format!(
                    "(C2) proj_in_weight: (a multiple of 2^order, {inputs}, 1, 1) expected, got order {order}, shape {entry:?}"
                )
            },
        )?;
        let (wide, first, pixels) = (rows / 2, rows >> order, height * width);
        require(shapes.proj_in_bias.is_none_or(|b| b == [rows]), || {
            format!("(C7) proj_in_bias: ({rows},) expected, got shape {:?}", shapes.proj_in_bias)
        })?;
        for channels in [inputs, 2 * rows] {
            product(&[images, channels, height, width])?;
        }
        let shape = |channels: usize| [images, channels, height, width];
        let q = shape(rows - first);
        let filter = same(&q, shapes.dwconv_weight, shapes.dwconv_bias)?;
        let chain = gate_chain::Dims::new(&shape(first), &q, shapes.pws_weight, shapes.pws_bias, order)?;
        let entry = [first, rows - first].map(|rows| conv2d::Dims::pointwise(images, inputs, rows, pixels));
        let [to_p0, to_q] = entry;
        let entry = [to_p0?, to_q?];
        let mut output = shape(wide);
        let mut out = None;
        if let Some(weight) = shapes.proj_out_weight {
            let outputs = weight.first().copied().unwrap_or(0);
            require(weight == [outputs, wide, 1, 1], || {
                format!("(C5) proj_out_weight: (O, {wide}, 1, 1) expected, got shape {weight:?}")
            })?;
            out = Some(conv2d::Dims::pointwise(images, wide, outputs, pixels)?);
            output[1] = outputs;
        }
        let outputs = out.map(|_| output[1]);
        require(shapes.proj_out_bias.is_none_or(|b| outputs.is_some_and(|n| b == [n])), || {
            format!("(C7) proj_out_bias: ({outputs:?},) expected, got shape {:?}", shapes.proj_out_bias)
        })?;
        let lens = [first, rows - first].map(|channels| images * channels * pixels);
        Ok(Dims { entry, filter, chain, out, output, inputs, lens })
    }

    /// Shape of y.
    pub fn output(&self) -> [usize; 4] {
        self.output
    }

    /// Shapes of what is saved.
    pub fn saved(&self) -> Saved<[usize; 4]> {
        let q = self.filter.output();
        Saved { p0: [q[0], self.chain.first, q[2], q[3]], q, filtered: q, u: self.chain.saved() }
    }

    /// Elements of proj_in_weight that make p₀.
    fn cut(&self) -> usize {
        self.chain.first * self.inputs
    }

    fn check<T>(&self, a: &Arguments<&[T]>, saved: [&[T]; 3]) -> Result<(), Error> {
        let rows = self.chain.first << self.chain.order;
        require_len("proj_in_weight", a.proj_in_weight, rows * self.inputs)?;
        if let Some(bias) = a.proj_in_bias {
            require_len("proj_in_bias", bias, rows)?;
        }
        let [p0, q, filtered] = saved;
        require_len("p0", p0, self.lens[0])?;
        require_len("q", q, self.lens[1])?;
        require_len("filtered", filtered, self.lens[1])
    }
}

pub fn forward<T: Real>(
    a: &Arguments<&[T]>,
    scale: T,
    y: &mut [T],
    saved: Saved<&mut [T]>,
    d: &Dims,
    exec: &Exec,
) -> Result<(), Error> {
    let Saved { p0, q, filtered, u } = saved;
    d.check(a, [p0, q, filtered])?;
    let (to_p0, to_q) = a.proj_in_weight.split_at(d.cut());
    let bias = a.proj_in_bias.map(|bias| bias.split_at(d.chain.first));
    conv2d::forward(a.x, to_p0, bias.map(|(b, _)| b), p0, &d.entry[0], exec)?; // (F1)
    conv2d::forward(a.x, to_q, bias.map(|(_, b)| b), q, &d.entry[1], exec)?;
    conv2d::forward(q, a.dwconv_weight, a.dwconv_bias, filtered, &d.filter, exec)?; // (F2)
    let chain = gate_chain::Arguments { p0, filtered, weight: a.pws_weight, bias: a.pws_bias, scale };
    d.chain.check_inputs(&chain, u)?;
    require_len("y", y, d.output.iter().product())?;
    let (wide, rows) = (d.chain.output()[1], d.output[1]);
    let out = a.proj_out_weight.map(|weight| gate_chain::Out { weight, bias: a.proj_out_bias, rows });
    if let Some(out) = out {
        require_len("proj_out_weight", out.weight, rows * wide)?;
        if let Some(bias) = out.bias {
            require_len("proj_out_bias", bias, rows)?;
        }
    }
    gate_chain::chain(&chain, out, y, u, &d.chain, exec) // (F3) (F4)
}
