//! resize_nearest: arrays in, arrays out.

use numpy::PyUntypedArrayMethods;
use pyhybrid_kernels::resize_nearest::{self, Dims};
use pyo3::prelude::*;

use crate::arrays::{Array, Input, Output, Pair, call, checked, with_dtype};

/// The shape of the output for x of a shape that `Dims` accepted.
fn resized(x: &[usize], (h, w): (usize, usize)) -> Vec<usize> {
    [&x[..x.len() - 2], &[h, w]].concat()
}

#[pyfunction]
pub fn resize_nearest_forward<'py>(py: Python<'py>, x: Array<'py>, size: Pair<usize>) -> PyResult<(Array<'py>,)> {
    let size = size.into();
    let dims = checked(Dims::new(x.shape(), size))?;
    with_dtype!(T of x => {
        let mut y = Output::<T>::empty(py, &resized(x.shape(), size))?;
        let x = Input::<T>::new("x", &x)?;
        let (x, y_slice) = (x.slice(), y.slice());
        call(py, |exec| resize_nearest::forward(x, y_slice, &dims, exec))?;
        Ok((y.array(),))
    })
}

#[pyfunction]
pub fn resize_nearest_backward<'py>(
    py: Python<'py>,
    dy: Array<'py>,
    x: Array<'py>,
    size: Pair<usize>,
) -> PyResult<(Array<'py>,)> {
    let size = size.into();
    let dims = checked(Dims::new(x.shape(), size))?;
    with_dtype!(T of dy => {
        let (dy, mut dx) = (Input::<T>::shaped("dy", &dy, &resized(x.shape(), size))?, Output::<T>::like(&x)?);
        let (dy, dx_slice) = (dy.slice(), dx.slice());
        call(py, |exec| resize_nearest::backward(dy, dx_slice, &dims, exec))?;
        Ok((dx.array(),))
    })
}
