//! regroup: arrays in, arrays out.

use numpy::PyUntypedArrayMethods;
use pyhybrid_kernels::regroup::{self, Dims};
use pyo3::prelude::*;

use crate::arrays::{Array, Input, Int, Output, call, checked, with_dtype};

#[pyfunction]
pub fn regroup_forward<'py>(
    py: Python<'py>,
    x: Array<'py>,
    heads: Int<usize>,
    axis: Int<isize>,
    inverse: bool,
) -> PyResult<(Array<'py>,)> {
    let dims = checked(Dims::new(x.shape(), heads.0, axis.0, inverse))?;
    with_dtype!(T of x => {
        let (x, mut y) = (Input::<T>::new("x", &x)?, Output::<T>::like(&x)?);
        let (x, y_slice) = (x.slice(), y.slice());
        call(py, |exec| regroup::forward(x, y_slice, &dims, exec))?;
        Ok((y.array(),))
    })
}

#[pyfunction]
pub fn regroup_backward<'py>(
    py: Python<'py>,
    dy: Array<'py>,
    x: Array<'py>,
    heads: Int<usize>,
    axis: Int<isize>,
    inverse: bool,
) -> PyResult<(Array<'py>,)> {
    let dims = checked(Dims::new(x.shape(), heads.0, axis.0, inverse))?;
    with_dtype!(T of dy => {
        let (dy, mut dx) = (Input::<T>::shaped("dy", &dy, x.shape())?, Output::<T>::like(&x)?);
        let (dy, dx_slice) = (dy.slice(), dx.slice());
        call(py, |exec| regroup::backward(dy, dx_slice, &dims, exec))?;
        Ok((dx.array(),))
    })
}
