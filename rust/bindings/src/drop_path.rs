//! drop_path: arrays in, arrays out.

use numpy::PyUntypedArrayMethods;
use pyhybrid_kernels::drop_path::{self, Dims};
use pyo3::prelude::*;

use crate::arrays::{Array, Input, Output, call, checked, with_dtype};

#[pyfunction]
pub fn drop_path_forward<'py>(py: Python<'py>, x: Array<'py>, mask: Array<'py>, rate: f64) -> PyResult<(Array<'py>,)> {
    let dims = checked(Dims::new(x.shape(), mask.shape(), rate))?;
    with_dtype!(T of x => {
        let (inputs, mut y) = ((Input::<T>::new("x", &x)?, Input::<T>::new("mask", &mask)?), Output::<T>::like(&x)?);
        let (x, mask, y_slice) = (inputs.0.slice(), inputs.1.slice(), y.slice());
        call(py, |exec| drop_path::forward(x, mask, y_slice, &dims, exec))?;
        Ok((y.array(),))
    })
}

#[pyfunction]
pub fn drop_path_backward<'py>(
    py: Python<'py>,
    dy: Array<'py>,
    x: Array<'py>,
    mask: Array<'py>,
    rate: f64,
) -> PyResult<[Array<'py>; 2]> {
    let dims = checked(Dims::new(x.shape(), mask.shape(), rate))?;
    with_dtype!(T of dy => {
        let dy = Input::<T>::shaped("dy", &dy, x.shape())?;
        let (mut dx, mut dmask) = (Output::<T>::like(&x)?, Output::<T>::like(&mask)?);
        let (x, mask) = (Input::<T>::new("x", &x)?, Input::<T>::new("mask", &mask)?);
        let (dy, x, mask, dx_slice, dmask_slice) = (dy.slice(), x.slice(), mask.slice(), dx.slice(), dmask.slice());
        call(py, |exec| drop_path::backward(dy, x, mask, dx_slice, dmask_slice, &dims, exec))?;
        Ok([dx.array(), dmask.array()])
    })
}
