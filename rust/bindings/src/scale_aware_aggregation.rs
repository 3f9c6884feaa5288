//! scale_aware_aggregation: arrays in, arrays out.

use numpy::PyUntypedArrayMethods;
use pyhybrid_kernels::scale_aware_aggregation::{self, Arguments, Dims, Gradients};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::arrays::{Array, Input, Output, call, checked, with_dtype};

/// The running statistics: both or none of them.
fn both<'py>(mean: Option<Array<'py>>, var: Option<Array<'py>>) -> PyResult<Option<(Array<'py>, Array<'py>)>> {
    match (mean, var) {
        (Some(mean), Some(var)) => Ok(Some((mean, var))),
        (None, None) => Ok(None),
        _ => Err(PyValueError::new_err(
            "(C5) bn_running_mean and bn_running_var: both or neither expected, got one of them",
        )),
    }
}

fn dims(a: &Arguments<Array<'_>>, eps: f64) -> PyResult<Dims> {
    let shapes = Arguments {
        x: a.x.shape(),
        proj0_weight: a.proj0_weight.shape(),
        proj0_bias: a.proj0_bias.shape(),
        bn_weight: a.bn_weight.shape(),
        bn_bias: a.bn_bias.shape(),
        proj1_weight: a.proj1_weight.shape(),
        proj1_bias: a.proj1_bias.shape(),
        running: a.running.as_ref().map(|(mean, var)| (mean.shape(), var.shape())),
    };
    checked(Dims::new(&shapes, eps))
}

fn inputs<'py, T: numpy::Element>(a: &Arguments<Array<'py>>) -> PyResult<Arguments<Input<'py, T>>> {
    let running = match &a.running {
        Some((mean, var)) => Some((Input::new("bn_running_mean", mean)?, Input::new("bn_running_var", var)?)),
        None => None,
    };
    Ok(Arguments {
        x: Input::new("x", &a.x)?,
        proj0_weight: Input::new("proj0_weight", &a.proj0_weight)?,
        proj0_bias: Input::new("proj0_bias", &a.proj0_bias)?,
        bn_weight: Input::new("bn_weight", &a.bn_weight)?,
        bn_bias: Input::new("bn_bias", &a.bn_bias)?,
        proj1_weight: Input::new("proj1_weight", &a.proj1_weight)?,
        proj1_bias: Input::new("proj1_bias", &a.proj1_bias)?,
        running,
    })
}

fn slices<'a, T: numpy::Element>(a: &'a Arguments<Input<'_, T>>) -> Arguments<&'a [T]> {
    Arguments {
        x: a.x.slice(),
        proj0_weight: a.proj0_weight.slice(),
        proj0_bias: a.proj0_bias.slice(),
        bn_weight: a.bn_weight.slice(),
        bn_bias: a.bn_bias.slice(),
        proj1_weight: a.proj1_weight.slice(),
        proj1_bias: a.proj1_bias.slice(),
        running: a.running.as_ref().map(|(mean, var)| (mean.slice(), var.slice())),
    }
}

#[pyfunction]
#[pyo3(signature = (x, proj0_weight, proj0_bias, bn_weight, bn_bias, proj1_weight, proj1_bias, bn_running_mean, bn_running_var, eps))]
#[allow(clippy::too_many_arguments)] // the operator's
pub fn scale_aware_aggregation_forward<'py>(
    x: Array<'py>,
    proj0_weight: Array<'py>,
    proj0_bias: Array<'py>,
    bn_weight: Array<'py>,
    bn_bias: Array<'py>,
    proj1_weight: Array<'py>,
    proj1_bias: Array<'py>,
    bn_running_mean: Option<Array<'py>>,
    bn_running_var: Option<Array<'py>>,
    eps: f64,
) -> PyResult<[Array<'py>; 3]> {
    let (py, running) = (x.py(), both(bn_running_mean, bn_running_var)?);
    let arrays = Arguments { x, proj0_weight, proj0_bias, bn_weight, bn_bias, proj1_weight, proj1_bias, running };
    let (d, x) = (dims(&arrays, eps)?, &arrays.x);
    with_dtype!(T of x => {
        let (inputs, mut y) = (inputs::<T>(&arrays)?, Output::<T>::empty(py, &d.output())?);
        let (mut mean, mut var) = (Output::<T>::like(&arrays.bn_weight)?, Output::<T>::like(&arrays.bn_weight)?);
        let arguments = slices(&inputs);
        let (y_slice, mean_slice, var_slice) = (y.slice(), mean.slice(), var.slice());
        if let Some((running_mean, running_var)) = arguments.running {
            mean_slice.copy_from_slice(running_mean);
            var_slice.copy_from_slice(running_var);
        }
        call(py, |exec| scale_aware_aggregation::forward(&arguments, y_slice, mean_slice, var_slice, &d, exec))?;
        Ok([y.array(), mean.array(), var.array()])
    })
}

#[pyfunction]
#[pyo3(signature = (dy, x, proj0_weight, proj0_bias, bn_weight, bn_bias, proj1_weight, proj1_bias, bn_running_mean, bn_running_var, eps,
                    mean, var))]
#[allow(clippy::too_many_arguments)] // dy, the operator's, and what it saved
pub fn scale_aware_aggregation_backward<'py>(
    dy: Array<'py>,
    x: Array<'py>,
    proj0_weight: Array<'py>,
    proj0_bias: Array<'py>,
    bn_weight: Array<'py>,
    bn_bias: Array<'py>,
    proj1_weight: Array<'py>,
    proj1_bias: Array<'py>,
    bn_running_mean: Option<Array<'py>>,
    bn_running_var: Option<Array<'py>>,
    eps: f64,
    mean: Array<'py>,
    var: Array<'py>,
) -> PyResult<Vec<Option<Array<'py>>>> {
    let (py, running) = (dy.py(), both(bn_running_mean, bn_running_var)?);
    let arrays = Arguments { x, proj0_weight, proj0_bias, bn_weight, bn_bias, proj1_weight, proj1_bias, running };
    let d = dims(&arrays, eps)?;
    with_dtype!(T of dy => {
        let (dy, inputs) = (Input::<T>::shaped("dy", &dy, &d.output())?, inputs::<T>(&arrays)?);
        let vector = arrays.bn_weight.shape();
        let (mean, var) = (Input::<T>::shaped("mean", &mean, vector)?, Input::<T>::shaped("var", &var, vector)?);
        let a = &arrays;
        let like = |x: &Array<'py>| Output::<T>::like(x);
        let (mut dx, mut dw0, mut db0, mut dgamma) = (like(&a.x)?, like(&a.proj0_weight)?, like(&a.proj0_bias)?, like(&a.bn_weight)?);
        let (mut dbeta, mut dw1, mut db1) = (like(&a.bn_bias)?, like(&a.proj1_weight)?, like(&a.proj1_bias)?);
        let mut drunning = match &a.running {
            Some((mean, var)) => Some((like(mean)?, like(var)?)),
            None => None,
        };
        let gradients = Gradients {
            x: dx.slice(),
            proj0_weight: dw0.slice(),
            proj0_bias: db0.slice(),
            bn_weight: dgamma.slice(),
            bn_bias: dbeta.slice(),
            proj1_weight: dw1.slice(),
            proj1_bias: db1.slice(),
            running: drunning.as_mut().map(|(mean, var)| (mean.slice(), var.slice())),
        };
        let (dy, arguments, saved) = (dy.slice(), slices(&inputs), (mean.slice(), var.slice()));
        call(py, |exec| scale_aware_aggregation::backward(dy, &arguments, saved, gradients, &d, exec))?;
        let (dmean, dvar) = drunning.map(|(mean, var)| (mean.array(), var.array())).unzip();
        let given = [dx, dw0, db0, dgamma, dbeta, dw1, db1].map(|gradient| Some(gradient.array()));
        Ok(given.into_iter().chain([dmean, dvar]).collect())
    })
}
