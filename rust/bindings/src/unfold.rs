//! unfold: arrays in, arrays out.

use numpy::PyUntypedArrayMethods;
use pyhybrid_kernels::unfold::{self, Dims};
use pyo3::prelude::*;

use crate::arrays::{Array, Input, Output, Pair, call, checked, with_dtype};

#[pyfunction]
pub fn unfold_forward<'py>(
    py: Python<'py>,
    x: Array<'py>,
    kernel_size: Pair<usize>,
    stride: Pair<usize>,
) -> PyResult<(Array<'py>,)> {
    let dims = checked(Dims::new(x.shape(), kernel_size.into(), stride.into()))?;
    with_dtype!(T of x => {
        let (x, mut y) = (Input::<T>::new("x", &x)?, Output::<T>::empty(py, dims.shape())?);
        let (x, y_slice) = (x.slice(), y.slice());
        call(py, |exec| unfold::forward(x, y_slice, &dims, exec))?;
        Ok((y.array(),))
    })
}

#[pyfunction]
pub fn unfold_backward<'py>(
    py: Python<'py>,
    dy: Array<'py>,
    x: Array<'py>,
    kernel_size: Pair<usize>,
    stride: Pair<usize>,
) -> PyResult<(Array<'py>,)> {
    let dims = checked(Dims::new(x.shape(), kernel_size.into(), stride.into()))?;
    with_dtype!(T of dy => {
        let (dy, mut dx) = (Input::<T>::shaped("dy", &dy, dims.shape())?, Output::<T>::like(&x)?);
        let (dy, dx_slice) = (dy.slice(), dx.slice());
        call(py, |exec| unfold::backward(dy, dx_slice, &dims, exec))?;
        Ok((dx.array(),))
    })
}
