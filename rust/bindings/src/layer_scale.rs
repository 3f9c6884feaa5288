//! layer_scale: arrays in, arrays out.

use numpy::PyUntypedArrayMethods;
use pyhybrid_kernels::layer_scale::{self, Dims};
use pyo3::prelude::*;

use crate::arrays::{Array, Input, Int, Output, call, checked, with_dtype};

#[pyfunction]
pub fn layer_scale_forward<'py>(
    py: Python<'py>,
    x: Array<'py>,
    gamma: Array<'py>,
    axis: Int<isize>,
) -> PyResult<(Array<'py>,)> {
    let dims = checked(Dims::new(x.shape(), gamma.shape(), axis.0))?;
    with_dtype!(T of x => {
        let (inputs, mut y) = ((Input::<T>::new("x", &x)?, Input::<T>::new("gamma", &gamma)?), Output::<T>::like(&x)?);
        let (x, gamma, y_slice) = (inputs.0.slice(), inputs.1.slice(), y.slice());
        call(py, |exec| layer_scale::forward(x, gamma, y_slice, &dims, exec))?;
        Ok((y.array(),))
    })
}

#[pyfunction]
pub fn layer_scale_backward<'py>(
    py: Python<'py>,
    dy: Array<'py>,
    x: Array<'py>,
    gamma: Array<'py>,
    axis: Int<isize>,
) -> PyResult<[Array<'py>; 2]> {
    let dims = checked(Dims::new(x.shape(), gamma.shape(), axis.0))?;
    with_dtype!(T of dy => {
        let dy = Input::<T>::shaped("dy", &dy, x.shape())?;
        let (mut dx, mut dgamma) = (Output::<T>::like(&x)?, Output::<T>::like(&gamma)?);
        let (x, gamma) = (Input::<T>::new("x", &x)?, Input::<T>::new("gamma", &gamma)?);
        let (dy, x, gamma, dx_slice, dgamma_slice) = (dy.slice(), x.slice(), gamma.slice(), dx.slice(), dgamma.slice());
        call(py, |exec| layer_scale::backward(dy, x, gamma, dx_slice, dgamma_slice, &dims, exec))?;
        Ok([dx.array(), dgamma.array()])
    })
}
