//! sigmoid: arrays in, arrays out.

use numpy::PyUntypedArrayMethods;
use pyhybrid_kernels::sigmoid;
use pyo3::prelude::*;

use crate::arrays::{Array, Input, Output, call, with_dtype};

#[pyfunction]
pub fn sigmoid_forward<'py>(py: Python<'py>, x: Array<'py>) -> PyResult<(Array<'py>,)> {
    with_dtype!(T of x => {
        let (mut y, x) = (Output::<T>::like(&x)?, Input::<T>::new("x", &x)?);
        let (x, y_slice) = (x.slice(), y.slice());
        call(py, |exec| sigmoid::forward(x, y_slice, exec))?;
        Ok((y.array(),))
    })
}

#[pyfunction]
pub fn sigmoid_backward<'py>(py: Python<'py>, dy: Array<'py>, x: Array<'py>) -> PyResult<(Array<'py>,)> {
    with_dtype!(T of dy => {
        let (dy, mut dx) = (Input::<T>::shaped("dy", &dy, x.shape())?, Output::<T>::like(&x)?);
        let x = Input::<T>::new("x", &x)?;
        let (dy, x, dx_slice) = (dy.slice(), x.slice(), dx.slice());
        call(py, |exec| sigmoid::backward(dy, x, dx_slice, exec))?;
        Ok((dx.array(),))
    })
}
