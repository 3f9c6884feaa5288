//! Batch normalisation and the activation behind it, in one pass over memory each way.
//!
//! Shapes       x (N, C, inner), weight (C,), bias (C,), mean (C,), var (C,) -> y, the shape of x
//! Forward      (F1) z = batch_norm of x    (F2) y = act(z)
//! Backward     (B1) dz = dy·act'(z), z again from x    (B2) the gradients of `batch_norm` for dz
//! Constraints  (C1) activation is "gelu", "relu" or "silu"
//!
//! The tasks and their arithmetic are those of [`batch_norm`] and of the activations: the same bits as one after the other. dz of a
//! channel stays in the cache.

use crate::batch_norm::{self, Behind, Channels, Dims, Gradients, Saved};
use crate::elementwise::{HalfSquare, InPlace, WithSlope};
use crate::error::Error;
use crate::exec::{Buffer, Exec};
use crate::gemm::Share;
use crate::real::Real;
use crate::{gelu, relu, silu};

#[derive(Clone, Copy, Debug)]
pub enum Activation {
    Gelu,
    Relu,
    Silu,
}

impl Activation {
    pub fn new(name: &str) -> Result<Activation, Error> {
        match name {
            "gelu" => Ok(Activation::Gelu),
            "relu" => Ok(Activation::Relu),
            "silu" => Ok(Activation::Silu),
            _ => Err(Error::Shape(format!("(C1) activation: expected \"gelu\", \"relu\" or \"silu\", got {name:?}"))),
        }
    }
}

/// Calls a function with the activation's own type as its first argument.
macro_rules! with {
    ($activation:expr, $f:ident => $call:expr) => {
        match $activation {
            Activation::Gelu => {
                let $f = gelu::Exact;
                $call
            }
            Activation::Relu => {
                let $f = relu::Relu;
                $call
            }
            Activation::Silu => {
                let $f = silu::Silu;
                $call
            }
        }
    };
}

/// `mean` and `var` are overwritten in training and read in evaluation.
#[allow(clippy::too_many_arguments)]
pub fn forward<T: Real>(
    x: &[T],
    weight: &[T],
    bias: &[T],
    y: &mut [T],
    mean: &mut [T],
    var: &mut [T],
    activation: Activation,
    d: &Dims,
    exec: &Exec,
) -> Result<(), Error> {
    with!(activation, f => batch_norm::forward_with(Some(f), x, weight, bias, y, mean, var, d, exec)) // (F1) (F2)
}

pub fn backward<T: Real>(
    saved: Saved<T>,
    bias: &[T],
    gradients: Gradients<T>,
    activation: Activation,
    d: &Dims,
    exec: &Exec,
) -> Result<(), Error> {
    with!(activation, f => batch_norm::backward_with(Some((f, bias)), saved, gradients, d, exec)) // (B1) (B2)
}

/// [`batch_norm::forward_rows`] and the activation, which asks for the channels that are read next.
#[allow(clippy::too_many_arguments)]
pub(crate) fn forward_rows<T: Real>(
    x: Channels<T>,
    parameters: [&[T]; 2],
    next: Option<Channels<T>>,
    y: &mut Share<T>,
    statistics: [&mut [T]; 2],
    activation: Activation,
    d: &Dims,
    space: &mut [Buffer<T>; 3],
    exec: &Exec,
) {
    with!(activation, f => batch_norm::forward_rows(Some(Behind { f, next }), x, parameters, y, statistics, d, space, exec))
}

/// [`batch_norm::backward_rows`] with the activation, which asks for the channels that are read next.
#[allow(clippy::too_many_arguments)]
pub(crate) fn backward_rows<T: Real>(
    saved: Saved<T, Channels<T>>,
    bias: &[T],
    next: Option<Channels<T>>,
    dx: &mut Share<T>,
    gradients: [&mut [T]; 2],
    activation: Activation,
    d: &Dims,
    space: &mut [Buffer<T>; 4],
    exec: &Exec,
) {
    with!(activation, f => batch_norm::backward_rows(Some((Behind { f, next }, bias)), saved, dx, gradients, d, space, exec))
}

impl Activation {
    /// act(z) in the place of z; in `kept` what [`Activation::pull`] needs of z, which has cost next to nothing.
    pub fn value_and_slope<T: Real>(self, z: &mut [T], kept: &mut [T], exec: &Exec) {
        match self {
            Activation::Gelu => exec.run(WithSlope { f: gelu::Exact, y: z, slope: kept }),
            Activation::Silu => exec.run(WithSlope { f: silu::Silu, y: z, slope: kept }),
            Activation::Relu => {
                kept.copy_from_slice(z); // 0 times an infinite dy is not what its gradient is
                exec.run(InPlace::new(relu::Relu, None, z));
            }
        }
    }

    /// dy·act'(z) in the place of what was kept of z.                                                                         (B1)
    pub fn pull<T: Real>(self, dy: &[T], kept: &mut [T], exec: &Exec) {
        match self {
            Activation::Gelu | Activation::Silu => exec.run(InPlace::new(HalfSquare, Some(dy), kept)),
            Activation::Relu => exec.run(InPlace::new(relu::Relu, Some(dy), kept)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{each_exec, random, unwritten};

    fn check<T: Real>(images: usize, channels: usize, inner: usize, training: bool, activation: Activation) {
        let len = images * channels * inner;
        let (x, dy) = (random::<T>(len, 1), random::<T>(len, 2));
        let (weight, bias) = (random::<T>(channels, 3), random::<T>(channels, 4));
        let d = Dims::new(&[images, channels, inner], &[("weight", &[channels])], training, 1e-3).expect("sizes fit");
        let form = gelu::Form::new("none").expect("a form");
        each_exec(|exec| {
            let (mut z, mut expected, mut y, mut dz) = (unwritten(len), unwritten(len), unwritten(len), unwritten(len));
            let (mut mean, mut var) = (random::<T>(channels, 5), vec![T::ONE; channels]);
            let (mut mean_1, mut var_1) = (mean.clone(), var.clone());
            batch_norm::forward(&x, &weight, &bias, &mut z, &mut mean, &mut var, &d, exec).expect("it runs");
            match activation {
                Activation::Gelu => gelu::forward(&z, &mut expected, &form, exec)
                    .and_then(|()| gelu::backward(&dy, &z, &mut dz, &form, exec)),
                Activation::Relu => {
                    relu::forward(&z, &mut expected, exec).and_then(|()| relu::backward(&dy, &z, &mut dz, exec))
                }
                Activation::Silu => {
                    silu::forward(&z, &mut expected, exec).and_then(|()| silu::backward(&dy, &z, &mut dz, exec))
                }
            }
            .expect("it runs");
            forward(&x, &weight, &bias, &mut y, &mut mean_1, &mut var_1, activation, &d, exec).expect("it runs");
            assert_eq!((&y, &mean_1, &var_1), (&expected, &mean, &var), "{d:?} {activation:?} {:?}", exec.level());
            let gradients = |dy: &[T], behind: bool| {
                let mut all = [len, channels, channels, channels, channels].map(unwritten::<T>);
                let [dx, dweight, dbias, dmean, dvar] = &mut all;
                let saved = Saved { dy, x: &x[..], weight: &weight, mean: &mean, var: &var };
                let running = (!training).then_some((&mut dmean[..], &mut dvar[..]));
                let to = Gradients { dx, dweight, dbias, running };
                let done = if behind {
                    backward(saved, &bias, to, activation, &d, exec)
                } else {
                    batch_norm::backward(saved, to, &d, exec)
                };
                done.expect("it runs");
                all.map(|values| values.iter().map(|v| v.to_f64().to_bits()).collect::<Vec<_>>())
            };
            assert_eq!(gradients(&dy, true), gradients(&dz, false), "{d:?} {activation:?} {:?}", exec.level());
        });
    }

    #[test]
    fn the_same_bits_as_one_after_the_other() {
        for activation in [Activation::Gelu, Activation::Relu, Activation::Silu] {
            for (images, channels, inner) in [(5, 4, 1), (3, 2, 7), (2, 3, 63), (2, 2, 131), (1, 2, 3000), (0, 3, 2)] {
                check::<f32>(images, channels, inner, false, activation);
                if images > 0 {
                    check::<f32>(images, channels, inner, true, activation);
                    check::<f64>(images, channels, inner, true, activation);
                }
            }
        }
    }

    #[test]
    fn c1_other_names_are_refused() {
        assert!(Activation::new("relu").is_ok() && Activation::new("tanh").is_err());
    }
}
