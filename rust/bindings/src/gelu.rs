//! gelu: arrays in, arrays out.

use numpy::PyUntypedArrayMethods;
use pyhybrid_kernels::gelu::{self, Form};
use pyo3::prelude::*;

use crate::arrays::{Array, Input, Output, call, checked, with_dtype};

#[pyfunction]
pub fn gelu_forward<'py>(py: Python<'py>, x: Array<'py>, approximate: &str) -> PyResult<(Array<'py>,)> {
    let form = checked(Form::new(approximate))?;
    with_dtype!(T of x => {
        let (mut y, x) = (Output::<T>::like(&x)?, Input::<T>::new("x", &x)?);
        let (x, y_slice) = (x.slice(), y.slice());
        call(py, |exec| gelu::forward(x, y_slice, &form, exec))?;
        Ok((y.array(),))
    })
}

#[pyfunction]
pub fn gelu_backward<'py>(
    py: Python<'py>,
    dy: Array<'py>,
    x: Array<'py>,
    approximate: &str,
) -> PyResult<(Array<'py>,)> {
    let form = checked(Form::new(approximate))?;
    with_dtype!(T of dy => {
        let (dy, mut dx) = (Input::<T>::shaped("dy", &dy, x.shape())?, Output::<T>::like(&x)?);
        let x = Input::<T>::new("x", &x)?;
        let (dy, x, dx_slice) = (dy.slice(), x.slice(), dx.slice());
        call(py, |exec| gelu::backward(dy, x, dx_slice, &form, exec))?;
        Ok((dx.array(),))
    })
}
