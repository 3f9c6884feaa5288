//! ACmix: attention and convolution on the same three projections, mixed by two learnt scalars.
//!
//! Shapes       x (N, C', H, W) -> y (N, C, ⌈H/sh⌉, ⌈W/sw⌉); rate1, rate2 (1,); conv1 (query), conv2 (key), conv3 (value):
//!              weight (C, C', 1, 1), bias (C,); fc and dep_conv as in conv_path; conv_p: weight (d, 2, 1, 1), bias (d,), d = C/heads
//! Forward      (F1) q, k, v = conv1(x), conv2(x), conv3(x)    (F2) pe = conv_p(location grid of x)
//!              (F3) att = local_attention(q, k, v, pe)    (F4) conv = conv_path(q, k, v)    (F5) y = rate1·att + rate2·conv
//! Backward     (B1) drate1 = <dy, att>, drate2 = <dy, conv>    (B2) datt = rate1·dy, dconv = rate2·dy
//!              (B3) dq, dk, dv, dpe = backward of (F3) at datt    (B4) more dq, dk, dv and dfc, ddep_conv = backward of (F4) at dconv
//!              (B5) dconv_p = backward of (F2)    (B6) dx = Σ over the three projections of their backward
//! Constraints  (C1) rate1 and rate2 are (1,)    (C2) the projections have one shape (C, C', 1, 1), their biases (C,)
//!              (C3) conv_p_weight is (d, 2, 1, 1); conv_p_bias is (d,) and needs conv_p_weight
//!
//! The parts' kernels in one crossing. What the backward needs besides its results lives for a few images at a time.

use crate::error::{Error, require};
use crate::exec::Exec;
use crate::lanes::{Isa, Task, V, Vector};
use crate::planes::{product, require_len};
use crate::real::Real;
use crate::{conv_path, local_attention, pointwise_conv, positional_term};

mod backward;
#[cfg(test)]
mod tests;

pub use backward::backward;

type Pair = (usize, usize);

/// Elements of q from which on an image is worth a pass of its own in the backward. Sums over images are taken in these portions, so
/// their bits depend on the sizes alone.
const PORTION: usize = 1 << 17;

/// The arrays of a call: their shapes, their elements, or their gradients.
#[derive(Clone, Copy)]
pub struct Arguments<A> {
    pub x: A,
    pub rate1: A,
    pub rate2: A,
    /// conv1, conv2, conv3.
    pub weights: [A; 3],
    pub biases: [A; 3],
    pub fc_weight: A,
    pub dep_conv_weight: A,
    pub conv_p_weight: Option<A>,
    pub conv_p_bias: Option<A>,
    pub fc_bias: Option<A>,
    pub dep_conv_bias: Option<A>,
}

impl<A> Arguments<A> {
    /// From lists in the order of the operator's arguments.
    pub fn new(required: [A; 11], optional: [Option<A>; 4]) -> Self {
        let [x, rate1, rate2, w1, b1, w2, b2, w3, b3, fc_weight, dep_conv_weight] = required;
        let [conv_p_weight, conv_p_bias, fc_bias, dep_conv_bias] = optional;
        let (weights, biases) = ([w1, w2, w3], [b1, b2, b3]);
        Arguments {
            x,
            rate1,
            rate2,
            weights,
            biases,
            fc_weight,
            dep_conv_weight,
            conv_p_weight,
            conv_p_bias,
            fc_bias,
            dep_conv_bias,
        }
    }
}

/// What the forward saves: as outputs or as inputs of the backward.
pub struct Saved<A> {
    pub q: A,
    pub k: A,
    pub v: A,
    pub pe: Option<A>,
    pub lse: A,
    pub att: A,
    pub conv: A,
}

#[derive(Clone, Copy, Debug)]
pub struct Config<'a> {
    pub heads: usize,
    pub kernel_size: usize,
    pub stride: Pair,
    pub border: &'a str,
    pub channel_order: &'a str,
}

/// The parts' sizes for some images.
struct Parts {
    images: usize,
    projection: pointwise_conv::Dims,
    attention: local_attention::Dims,
    path: conv_path::Dims,
}

pub struct Dims {
    all: Parts,
    /// A whole portion of images, and what remains.
    portions: [Parts; 2],
    term: Option<positional_term::Dims>,
    /// Shapes of x, q and y, and of lse and pe.
    x: [usize; 4],
    q: [usize; 4],
    y: [usize; 4],
    lse: [usize; 4],
    pe: [usize; 3],
}

impl Dims {
    pub fn new(shapes: &Arguments<&[usize]>, config: Config<'_>) -> Result<Dims, Error> {
        let &Arguments { x, rate1, rate2, weights, biases, conv_p_weight, conv_p_bias, .. } = shapes;
        require(rate1 == [1] && rate2 == [1], || {
            format!("(C1) rate1, rate2: shape (1,) expected, got {rate1:?}, {rate2:?}")
        })?;
        require(weights[1] == weights[0] && weights[2] == weights[0], || {
            format!("(C2) conv1_weight, conv2_weight, conv3_weight: one shape expected, got {weights:?}")
        })?;
        require(biases[1] == biases[0] && biases[2] == biases[0], || {
            format!("(C2) conv1_bias, conv2_bias, conv3_bias: one shape expected, got {biases:?}")
        })?;
        let projection = pointwise_conv::Dims::new(x, weights[0], Some(biases[0]))?;
        let (q, heads) = (projection.output(), config.heads);
        let [images, channels, height, width] = q;
        let order = conv_path::ChannelOrder::from_name(config.channel_order)?;
        let attention = local_attention::Config {
            heads,
            kernel_size: config.kernel_size,
            stride: config.stride,
            border: config.border,
            scale: None,
        };
        require(heads > 0 && channels % heads == 0 && channels >= heads, || {
            format!("(C2) heads: a divisor of {channels} channels expected, got {heads}")
        })?;
        let pe = [channels / heads, height, width];
        require(conv_p_weight.is_none_or(|weight| weight == [pe[0], 2, 1, 1]), || {
            format!("(C3) conv_p_weight: ({}, 2, 1, 1) expected, got shape {conv_p_weight:?}", pe[0])
        })?;
        require(conv_p_bias.is_none_or(|bias| conv_p_weight.is_some() && bias == [pe[0]]), || {
            format!("(C3) conv_p_bias: ({},) and conv_p_weight expected, got shape {conv_p_bias:?}", pe[0])
        })?;
        let term = conv_p_weight.map(|weight| positional_term::Dims::new(weight, conv_p_bias, (height, width)));
        let parts = |images: usize| {
            let (mut x_part, mut q_part) = ([images, 0, height, width], q);
            (x_part[1], q_part[0]) = (x[1], images);
            let path = conv_path::Arguments {
                q: &q_part[..],
                k: &q_part,
                v: &q_part,
                fc_weight: shapes.fc_weight,
                dep_conv_weight: shapes.dep_conv_weight,
                fc_bias: shapes.fc_bias,
                dep_conv_bias: shapes.dep_conv_bias,
            };
            Ok(Parts {
                images,
                projection: pointwise_conv::Dims::new(&x_part, weights[0], Some(biases[0]))?,
                path: conv_path::Dims::new(&path, heads, config.stride, order)?,
                attention: local_attention::Dims::new(
                    &q_part,
                    &q_part,
                    &q_part,
                    conv_p_weight.map(|_| &pe[..]),
                    attention,
                )?,
            })
        };
        let portion = (PORTION / product(&q[1..])?.max(1)).clamp(1, images.max(1));
        let (all, portions) = (parts(images)?, [parts(portion)?, parts(images % portion)?]);
        let y = all.path.output();
        let lse = [images, heads, y[2], y[3]];
        product(&lse)?;
        Ok(Dims { all, portions, term: term.transpose()?, x: [images, x[1], height, width], q, y, lse, pe })
    }

    /// Shape of y, att and conv.
    pub fn output(&self) -> [usize; 4] {
        self.y
    }

    /// Shape of q, k and v.
    pub fn projections(&self) -> [usize; 4] {
        self.q
    }

    pub fn lse(&self) -> [usize; 4] {
        self.lse
    }

    pub fn pe(&self) -> [usize; 3] {
        self.pe
    }

    /// Elements of an array, or of one image of it.
    fn len(shape: &[usize]) -> usize {
        shape.iter().product()
    }
}

/// Nothing but lengths: the parts check theirs again.
fn check<T>(arguments: &Arguments<&[T]>, d: &Dims) -> Result<(), Error> {
    require_len("x", arguments.x, Dims::len(&d.x))?;
    require_len("rate1", arguments.rate1, 1)?;
    require_len("rate2", arguments.rate2, 1)?;
    for (weight, bias) in arguments.weights.iter().zip(arguments.biases) {
        require_len("conv weight", weight, d.x[1] * d.q[1])?;
        require_len("conv bias", bias, d.q[1])?;
    }
    require(arguments.conv_p_weight.is_some() == d.term.is_some(), || {
        "(C3) conv_p_weight: as in Dims expected".to_owned()
    })
}

fn path_arguments<'a, T>(arguments: &Arguments<&'a [T]>, [q, k, v]: [&'a [T]; 3]) -> conv_path::Arguments<&'a [T]> {
    let &Arguments { fc_weight, dep_conv_weight, fc_bias, dep_conv_bias, .. } = arguments;
    conv_path::Arguments { q, k, v, fc_weight, dep_conv_weight, fc_bias, dep_conv_bias }
}

pub fn forward<T: Real>(
    arguments: &Arguments<&[T]>,
    y: &mut [T],
    saved: Saved<&mut [T]>,
    d: &Dims,
    exec: &Exec,
) -> Result<(), Error> {
    check(arguments, d)?;
    let Saved { q, k, v, pe, lse, att, conv } = saved;
    require_len("y", y, Dims::len(&d.y))?;
    require_len("conv", conv, y.len())?;
    require_len("att", att, y.len())?;
    for ((weight, bias), out) in arguments.weights.iter().zip(arguments.biases).zip([&mut *q, &mut *k, &mut *v]) {
        pointwise_conv::forward(arguments.x, weight, Some(bias), out, &d.all.projection, exec)?; // (F1)
    }
    let (q, k, v) = (&*q, &*k, &*v);
    let pe = match (pe, arguments.conv_p_weight, &d.term) {
        (Some(pe), Some(weight), Some(term)) => {
            positional_term::forward(weight, arguments.conv_p_bias, pe, term, exec)?; // (F2)
            Some(&*pe)
        }
        _ => None,
    };
    local_attention::forward(local_attention::Inputs { q, k, v, pe }, att, lse, &d.all.attention, exec)?; // (F3)
    conv_path::forward(&path_arguments(arguments, [q, k, v]), conv, &d.all.path, exec)?; // (F4)
    const CHUNK: usize = 1 << 14;
    let tasks = y.chunks_mut(CHUNK).zip(att.chunks(CHUNK)).zip(conv.chunks(CHUNK));
    let rates = [arguments.rate1[0], arguments.rate2[0]];
    exec.for_each(Dims::len(&d.y), tasks, |((y, att), conv)| exec.run(Mix { rates, att, conv, y })) // (F5)
}

/// y = rate1·att + rate2·conv
struct Mix<'a, T> {
    rates: [T; 2],
    att: &'a [T],
    conv: &'a [T],
    y: &'a mut [T],
}

impl<T: Real> Task for Mix<'_, T> {
    type Out = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        let (n, lanes, rates) = (self.y.len(), V::<T, I>::LANES, self.rates.map(V::<T, I>::splat));
        let (att, conv, mut k) = (&self.att[..n], &self.conv[..n], 0);
        while k + lanes <= n {
            let mixed = rates[1].mul_add(V::<T, I>::load(&conv[k..]), rates[0] * V::<T, I>::load(&att[k..]));
            mixed.store(&mut self.y[k..]);
            k += lanes;
        }
        let (att, conv) = (V::<T, I>::load_partial(&att[k..], n - k), V::<T, I>::load_partial(&conv[k..], n - k));
        rates[1].mul_add(conv, rates[0] * att).store_partial(&mut self.y[k..], n - k);
    }
}
