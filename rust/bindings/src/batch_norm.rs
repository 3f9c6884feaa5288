//! batch_norm: arrays in, arrays out.

use numpy::PyUntypedArrayMethods;
use pyhybrid_kernels::batch_norm::{self, Dims, Gradients, Saved};
use pyhybrid_kernels::batch_norm_act::{self, Activation};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::arrays::{Array, Input, Output, call, checked, with_dtype};

/// The running statistics: both or none of them.
fn both<'a, 'py>(
    running_mean: Option<&'a Array<'py>>,
    running_var: Option<&'a Array<'py>>,
) -> PyResult<Option<(&'a Array<'py>, &'a Array<'py>)>> {
    match (running_mean, running_var) {
        (Some(mean), Some(var)) => Ok(Some((mean, var))),
        (None, None) => Ok(None),
        _ => Err(PyValueError::new_err("(C3) running_mean and running_var: both or neither expected, got one of them")),
    }
}

fn dims(x: &Array, vectors: &[(&str, &Array)], running: Option<(&Array, &Array)>, eps: f64) -> PyResult<Dims> {
    let mut shapes: Vec<_> = vectors.iter().map(|(name, vector)| (*name, vector.shape())).collect();
    if let Some((mean, var)) = running {
        shapes.extend([("running_mean", mean.shape()), ("running_var", var.shape())]);
    }
    checked(Dims::new(x.shape(), &shapes, running.is_none(), eps))
}

#[pyfunction]
#[pyo3(signature = (x, weight, bias, running_mean, running_var, eps))]
pub fn batch_norm_forward<'py>(
    py: Python<'py>,
    x: Array<'py>,
    weight: Array<'py>,
    bias: Array<'py>,
    running_mean: Option<Array<'py>>,
    running_var: Option<Array<'py>>,
    eps: f64,
) -> PyResult<[Array<'py>; 3]> {
    forward(py, x, weight, bias, running_mean, running_var, eps, None)
}

/// With an activation behind it, or none.
#[allow(clippy::too_many_arguments)]
pub fn forward<'py>(
    py: Python<'py>,
    x: Array<'py>,
    weight: Array<'py>,
    bias: Array<'py>,
    running_mean: Option<Array<'py>>,
    running_var: Option<Array<'py>>,
    eps: f64,
    activation: Option<Activation>,
) -> PyResult<[Array<'py>; 3]> {
    let running = both(running_mean.as_ref(), running_var.as_ref())?;
    let dims = dims(&x, &[("weight", &weight), ("bias", &bias)], running, eps)?;
    with_dtype!(T of x => {
        let (mut y, mut mean, mut var) = (Output::<T>::like(&x)?, Output::<T>::like(&weight)?, Output::<T>::like(&weight)?);
        if let Some((running_mean, running_var)) = running {
            mean.slice().copy_from_slice(Input::<T>::new("running_mean", running_mean)?.slice());
            var.slice().copy_from_slice(Input::<T>::new("running_var", running_var)?.slice());
        }
        let (x, weight, bias) = (Input::<T>::new("x", &x)?, Input::<T>::new("weight", &weight)?, Input::<T>::new("bias", &bias)?);
        let (x, weight, bias, y_slice, mean_slice, var_slice) =
            (x.slice(), weight.slice(), bias.slice(), y.slice(), mean.slice(), var.slice());
        call(py, |exec| match activation {
            Some(act) => batch_norm_act::forward(x, weight, bias, y_slice, mean_slice, var_slice, act, &dims, exec),
            None => batch_norm::forward(x, weight, bias, y_slice, mean_slice, var_slice, &dims, exec),
        })?;
        Ok([y.array(), mean.array(), var.array()])
    })
}

/// dx, dweight, dbias, and in evaluation drunning_mean and drunning_var.
pub type Grads<'py> = (Array<'py>, Array<'py>, Array<'py>, Option<Array<'py>>, Option<Array<'py>>);

#[pyfunction]
#[pyo3(signature = (dy, x, weight, bias, running_mean, running_var, eps, mean, var))]
#[allow(clippy::too_many_arguments)]
pub fn batch_norm_backward<'py>(
    py: Python<'py>,
    dy: Array<'py>,
    x: Array<'py>,
    weight: Array<'py>,
    bias: Array<'py>,
    running_mean: Option<Array<'py>>,
    running_var: Option<Array<'py>>,
    eps: f64,
    mean: Array<'py>,
    var: Array<'py>,
) -> PyResult<Grads<'py>> {
    backward(py, dy, x, weight, bias, running_mean, running_var, eps, None, mean, var)
}

/// With an activation behind it, or none.
#[allow(clippy::too_many_arguments)]
pub fn backward<'py>(
    py: Python<'py>,
    dy: Array<'py>,
    x: Array<'py>,
    weight: Array<'py>,
    bias: Array<'py>,
    running_mean: Option<Array<'py>>,
    running_var: Option<Array<'py>>,
    eps: f64,
    activation: Option<Activation>,
    mean: Array<'py>,
    var: Array<'py>,
) -> PyResult<Grads<'py>> {
    let running = both(running_mean.as_ref(), running_var.as_ref())?;
    let vectors = [("weight", &weight), ("bias", &bias), ("mean", &mean), ("var", &var)];
    let dims = dims(&x, &vectors, running, eps)?;
    with_dtype!(T of x => {
        let (mut dx, mut dweight, mut dbias) = (Output::<T>::like(&x)?, Output::<T>::like(&weight)?, Output::<T>::like(&bias)?);
        let mut drunning = match running {
            Some((running_mean, running_var)) => {
                Input::<T>::new("running_mean", running_mean)?;
                Input::<T>::new("running_var", running_var)?;
                Some((Output::<T>::like(running_mean)?, Output::<T>::like(running_var)?))
            }
            None => None,
        };
        let (dy, x, weight) = (Input::<T>::shaped("dy", &dy, x.shape())?, Input::<T>::new("x", &x)?, Input::<T>::new("weight", &weight)?);
        let bias = Input::<T>::new("bias", &bias)?;
        let (mean, var) = (Input::<T>::new("mean", &mean)?, Input::<T>::new("var", &var)?);
        let saved = Saved { dy: dy.slice(), x: x.slice(), weight: weight.slice(), mean: mean.slice(), var: var.slice() };
        let running = drunning.as_mut().map(|(dmean, dvar)| (dmean.slice(), dvar.slice()));
        let gradients = Gradients { dx: dx.slice(), dweight: dweight.slice(), dbias: dbias.slice(), running };
        let bias = bias.slice();
        call(py, |exec| match activation {
            Some(act) => batch_norm_act::backward(saved, bias, gradients, act, &dims, exec),
            None => batch_norm::backward(saved, gradients, &dims, exec),
        })?;
        let (dmean, dvar) = drunning.map(|(dmean, dvar)| (dmean.array(), dvar.array())).unzip();
        Ok((dx.array(), dweight.array(), dbias.array(), dmean, dvar))
    })
}
