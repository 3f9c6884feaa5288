//! mbconv_hidden: arrays in, arrays out.

use numpy::PyUntypedArrayMethods;
use pyhybrid_kernels::batch_norm_act::Activation;
use pyhybrid_kernels::mbconv_hidden::{self, Dims, Gradients, Parameters};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::arrays::{Array, Input, Output, Pair, call, checked, with_dtype};

/// Names of the vectors: weight and bias of both norms, then mean and var of both.
const NORMS: [&str; 4] = ["in_weight", "in_bias", "out_weight", "out_bias"];
const STATISTICS: [&str; 4] = ["in_mean", "in_var", "out_mean", "out_var"];

/// The given statistics: all or none of them.
fn all<'py>(statistics: [Option<Array<'py>>; 4]) -> PyResult<Option<[Array<'py>; 4]>> {
    match statistics {
        [Some(a), Some(b), Some(c), Some(d)] => Ok(Some([a, b, c, d])),
        [None, None, None, None] => Ok(None),
        _ => Err(PyValueError::new_err("(C3) in_mean, in_var, out_mean, out_var: all or none expected, got some")),
    }
}

fn dims(
    (x, weight): (&Array, &Array),
    vectors: &[(&[&str; 4], &[Array; 4])],
    (stride, padding): (Pair<usize>, Pair<usize>),
    training: bool,
    eps: f64,
) -> PyResult<Dims> {
    let named = vectors.iter().flat_map(|(names, arrays)| names.iter().zip(arrays.iter()));
    let shapes: Vec<_> = named.map(|(name, array)| (*name, array.shape())).collect();
    checked(Dims::new(x.shape(), weight.shape(), &shapes, stride.into(), padding.into(), training, eps))
}

fn inputs<'py, T: numpy::Element>(names: &[&str; 4], arrays: &[Array<'py>; 4]) -> PyResult<Vec<Input<'py, T>>> {
    names.iter().zip(arrays).map(|(name, array)| Input::new(name, array)).collect()
}

fn like<'py, T: numpy::Element>(x: &Array<'py>) -> PyResult<[Output<'py, T>; 4]> {
    Ok([Output::like(x)?, Output::like(x)?, Output::like(x)?, Output::like(x)?])
}

/// The vectors of both norms.
fn both<'a, T: numpy::Element>(of: &'a [Input<'_, T>]) -> [[&'a [T]; 2]; 2] {
    [[of[0].slice(), of[1].slice()], [of[2].slice(), of[3].slice()]]
}

/// y, then the mean and var that x and h were normalised by.
#[pyfunction]
#[pyo3(signature = (x, in_weight, in_bias, weight, out_weight, out_bias, in_mean, in_var, out_mean, out_var, eps, activation, stride, padding))]
#[allow(clippy::too_many_arguments)]
pub fn mbconv_hidden_forward<'py>(
    py: Python<'py>,
    x: Array<'py>,
    in_weight: Array<'py>,
    in_bias: Array<'py>,
    weight: Array<'py>,
    out_weight: Array<'py>,
    out_bias: Array<'py>,
    in_mean: Option<Array<'py>>,
    in_var: Option<Array<'py>>,
    out_mean: Option<Array<'py>>,
    out_var: Option<Array<'py>>,
    eps: f64,
    activation: &str,
    stride: Pair<usize>,
    padding: Pair<usize>,
) -> PyResult<[Array<'py>; 5]> {
    let (norms, given) = ([in_weight, in_bias, out_weight, out_bias], all([in_mean, in_var, out_mean, out_var])?);
    let mut vectors = vec![(&NORMS, &norms)];
    vectors.extend(given.as_ref().map(|given| (&STATISTICS, given)));
    let dims = dims((&x, &weight), &vectors, (stride, padding), given.is_none(), eps)?;
    let activation = checked(Activation::new(activation))?;
    with_dtype!(T of x => {
        let (mut y, mut kept) = (Output::<T>::empty(py, &dims.output())?, like::<T>(&norms[0])?);
        if let Some(given) = &given {
            for (to, from) in kept.iter_mut().zip(inputs::<T>(&STATISTICS, given)?) {
                to.slice().copy_from_slice(from.slice());
            }
        }
        let (x, weight, norms) = (Input::<T>::new("x", &x)?, Input::<T>::new("weight", &weight)?, inputs::<T>(&NORMS, &norms)?);
        let parameters = Parameters { norms: both(&norms), weight: weight.slice(), activation };
        let [a, b, c, d] = kept.each_mut().map(Output::slice);
        let (x, y_slice) = (x.slice(), y.slice());
        call(py, |exec| mbconv_hidden::forward(x, &parameters, y_slice, [[a, b], [c, d]], &dims, exec))?;
        let [a, b, c, d] = kept.map(Output::array);
        Ok([y.array(), a, b, c, d])
    })
}

/// The gradients in the order of the arguments; those of the statistics are there in evaluation only.
#[pyfunction]
#[pyo3(signature = (dy, x, in_weight, in_bias, weight, out_weight, out_bias, in_mean, in_var, out_mean, out_var, eps, activation, stride,
    padding, mean_x, var_x, mean_h, var_h))]
#[allow(clippy::too_many_arguments)]
pub fn mbconv_hidden_backward<'py>(
    py: Python<'py>,
    dy: Array<'py>,
    x: Array<'py>,
    in_weight: Array<'py>,
    in_bias: Array<'py>,
    weight: Array<'py>,
    out_weight: Array<'py>,
    out_bias: Array<'py>,
    in_mean: Option<Array<'py>>,
    in_var: Option<Array<'py>>,
    out_mean: Option<Array<'py>>,
    out_var: Option<Array<'py>>,
    eps: f64,
    activation: &str,
    stride: Pair<usize>,
    padding: Pair<usize>,
    mean_x: Array<'py>,
    var_x: Array<'py>,
    mean_h: Array<'py>,
    var_h: Array<'py>,
) -> PyResult<Vec<Option<Array<'py>>>> {
    let (norms, given) = ([in_weight, in_bias, out_weight, out_bias], all([in_mean, in_var, out_mean, out_var])?);
    let (kept, kept_names) = ([mean_x, var_x, mean_h, var_h], ["mean_x", "var_x", "mean_h", "var_h"]);
    let mut vectors = vec![(&NORMS, &norms), (&kept_names, &kept)];
    vectors.extend(given.as_ref().map(|given| (&STATISTICS, given)));
    let dims = dims((&x, &weight), &vectors, (stride, padding), given.is_none(), eps)?;
    let activation = checked(Activation::new(activation))?;
    with_dtype!(T of x => {
        let (mut dx, mut dweight, mut dnorms) = (Output::<T>::like(&x)?, Output::<T>::like(&weight)?, like::<T>(&norms[0])?);
        let mut running = match &given {
            Some(given) => inputs::<T>(&STATISTICS, given).and_then(|_| like::<T>(&given[0])).map(Some)?,
            None => None,
        };
        let dy = Input::<T>::shaped("dy", &dy, &dims.output())?;
        let (x, weight) = (Input::<T>::new("x", &x)?, Input::<T>::new("weight", &weight)?);
        let (norms, kept) = (inputs::<T>(&NORMS, &norms)?, inputs::<T>(&kept_names, &kept)?);
        let parameters = Parameters { norms: both(&norms), weight: weight.slice(), activation };
        let statistics = both(&kept);
        let [a, b, c, d] = dnorms.each_mut().map(Output::slice);
        let gradients = Gradients {
            x: dx.slice(),
            norms: [[a, b], [c, d]],
            weight: dweight.slice(),
            running: running.as_mut().map(|running| {
                let [a, b, c, d] = running.each_mut().map(Output::slice);
                [[a, b], [c, d]]
            }),
        };
        let (dy, x) = (dy.slice(), x.slice());
        call(py, |exec| mbconv_hidden::backward(dy, x, &parameters, statistics, gradients, &dims, exec))?;
        let [a, b, c, d] = dnorms.map(Output::array);
        let running = running.map_or([None, None, None, None], |running| running.map(|of| Some(of.array())));
        Ok([dx.array(), a, b, dweight.array(), c, d].map(Some).into_iter().chain(running).collect())
    })
}
