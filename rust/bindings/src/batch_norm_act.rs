//! batch_norm_act: arrays in, arrays out.

use pyhybrid_kernels::batch_norm_act::Activation;
use pyo3::prelude::*;

use crate::arrays::{Array, checked};
use crate::batch_norm::{self, Grads};

#[pyfunction]
#[pyo3(signature = (x, weight, bias, running_mean, running_var, eps, activation))]
#[allow(clippy::too_many_arguments)]
pub fn batch_norm_act_forward<'py>(
    py: Python<'py>,
    x: Array<'py>,
    weight: Array<'py>,
    bias: Array<'py>,
    running_mean: Option<Array<'py>>,
    running_var: Option<Array<'py>>,
    eps: f64,
    activation: &str,
) -> PyResult<[Array<'py>; 3]> {
    let activation = Some(checked(Activation::new(activation))?);
    batch_norm::forward(py, x, weight, bias, running_mean, running_var, eps, activation)
}

#[pyfunction]
#[pyo3(signature = (dy, x, weight, bias, running_mean, running_var, eps, activation, mean, var))]
#[allow(clippy::too_many_arguments)]
pub fn batch_norm_act_backward<'py>(
    py: Python<'py>,
    dy: Array<'py>,
    x: Array<'py>,
    weight: Array<'py>,
    bias: Array<'py>,
    running_mean: Option<Array<'py>>,
    running_var: Option<Array<'py>>,
    eps: f64,
    activation: &str,
    mean: Array<'py>,
    var: Array<'py>,
) -> PyResult<Grads<'py>> {
    let activation = Some(checked(Activation::new(activation))?);
    batch_norm::backward(py, dy, x, weight, bias, running_mean, running_var, eps, activation, mean, var)
}
