//! avg_pool2d: arrays in, arrays out.

use numpy::PyUntypedArrayMethods;
use pyhybrid_kernels::avg_pool2d::{self, Dims};
use pyo3::prelude::*;

use crate::arrays::{Array, Input, Output, Pair, call, checked, with_dtype};

#[pyfunction]
pub fn avg_pool2d_forward<'py>(
    py: Python<'py>,
    x: Array<'py>,
    kernel_size: Pair<usize>,
    stride: Option<Pair<usize>>,
    padding: Pair<usize>,
    ceil_mode: bool,
    count_include_pad: bool,
) -> PyResult<(Array<'py>,)> {
    let dims = Dims::new(x.shape(), kernel_size.into(), stride.map(Pair::into), padding.into(), ceil_mode);
    let dims = checked(dims)?;
    with_dtype!(T of x => {
        let (x, mut y) = (Input::<T>::new("x", &x)?, Output::<T>::empty(py, dims.output())?);
        let (x, y_slice) = (x.slice(), y.slice());
        call(py, |exec| avg_pool2d::forward(x, y_slice, &dims, count_include_pad, exec))?;
        Ok((y.array(),))
    })
}

#[pyfunction]
#[allow(clippy::too_many_arguments)]
pub fn avg_pool2d_backward<'py>(
    py: Python<'py>,
    dy: Array<'py>,
    x: Array<'py>,
    kernel_size: Pair<usize>,
    stride: Option<Pair<usize>>,
    padding: Pair<usize>,
    ceil_mode: bool,
    count_include_pad: bool,
) -> PyResult<(Array<'py>,)> {
    let dims = Dims::new(x.shape(), kernel_size.into(), stride.map(Pair::into), padding.into(), ceil_mode);
    let dims = checked(dims)?;
    with_dtype!(T of dy => {
        let (dy, mut dx) = (Input::<T>::shaped("dy", &dy, dims.output())?, Output::<T>::like(&x)?);
        let (dy, dx_slice) = (dy.slice(), dx.slice());
        call(py, |exec| avg_pool2d::backward(dy, dx_slice, &dims, count_include_pad, exec))?;
        Ok((dx.array(),))
    })
}
