//! global_avg_pool: arrays in, arrays out.

use numpy::PyUntypedArrayMethods;
use pyhybrid_kernels::global_avg_pool::{self, Dims};
use pyo3::prelude::*;

use crate::arrays::{Array, Input, Output, call, checked, with_dtype};

#[pyfunction]
pub fn global_avg_pool_forward<'py>(py: Python<'py>, x: Array<'py>) -> PyResult<(Array<'py>,)> {
    let dims = checked(Dims::new(x.shape()))?;
    with_dtype!(T of x => {
        let (x, mut y) = (Input::<T>::new("x", &x)?, Output::<T>::empty(py, dims.output())?);
        let (x, y_slice) = (x.slice(), y.slice());
        call(py, |exec| global_avg_pool::forward(x, y_slice, &dims, exec))?;
        Ok((y.array(),))
    })
}

#[pyfunction]
pub fn global_avg_pool_backward<'py>(py: Python<'py>, dy: Array<'py>, x: Array<'py>) -> PyResult<(Array<'py>,)> {
    let dims = checked(Dims::new(x.shape()))?;
    with_dtype!(T of dy => {
        let (dy, mut dx) = (Input::<T>::shaped("dy", &dy, dims.output())?, Output::<T>::like(&x)?);
        let (dy, dx_slice) = (dy.slice(), dx.slice());
        call(py, |exec| global_avg_pool::backward(dy, dx_slice, &dims, exec))?;
        Ok((dx.array(),))
    })
}
