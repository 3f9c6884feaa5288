//! roll: arrays in, arrays out.

use numpy::PyUntypedArrayMethods;
use pyhybrid_kernels::roll::{self, Dims};
use pyo3::prelude::*;

use crate::arrays::{Array, Input, Output, Pair, call, checked, with_dtype};

#[pyfunction]
pub fn roll_forward<'py>(py: Python<'py>, x: Array<'py>, offset: Pair<isize>) -> PyResult<(Array<'py>,)> {
    let dims = checked(Dims::new(x.shape(), offset.into()))?;
    with_dtype!(T of x => {
        let (x, mut y) = (Input::<T>::new("x", &x)?, Output::<T>::like(&x)?);
        let (x, y_slice) = (x.slice(), y.slice());
        call(py, |exec| roll::forward(x, y_slice, &dims, exec))?;
        Ok((y.array(),))
    })
}

#[pyfunction]
pub fn roll_backward<'py>(
    py: Python<'py>,
    dy: Array<'py>,
    x: Array<'py>,
    offset: Pair<isize>,
) -> PyResult<(Array<'py>,)> {
    let dims = checked(Dims::new(x.shape(), offset.into()))?;
    with_dtype!(T of dy => {
        let (dy, mut dx) = (Input::<T>::shaped("dy", &dy, x.shape())?, Output::<T>::like(&x)?);
        let (dy, dx_slice) = (dy.slice(), dx.slice());
        call(py, |exec| roll::backward(dy, dx_slice, &dims, exec))?;
        Ok((dx.array(),))
    })
}
