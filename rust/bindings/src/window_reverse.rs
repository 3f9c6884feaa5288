//! window_reverse: arrays in, arrays out.

use numpy::PyUntypedArrayMethods;
use pyhybrid_kernels::window_reverse::{self, dims};
use pyo3::prelude::*;

use crate::arrays::{Array, Input, Output, Pair, call, checked, with_dtype};

#[pyfunction]
pub fn window_reverse_forward<'py>(
    py: Python<'py>,
    windows: Array<'py>,
    window: Pair<usize>,
    size: Pair<usize>,
) -> PyResult<(Array<'py>,)> {
    let dims = checked(dims(windows.shape(), window.into(), size.into()))?;
    with_dtype!(T of windows => {
        let (windows, mut x) = (Input::<T>::new("windows", &windows)?, Output::<T>::empty(py, &dims.shape())?);
        let (windows, x_slice) = (windows.slice(), x.slice());
        call(py, |exec| window_reverse::forward(windows, x_slice, &dims, exec))?;
        Ok((x.array(),))
    })
}

#[pyfunction]
pub fn window_reverse_backward<'py>(
    py: Python<'py>,
    dy: Array<'py>,
    windows: Array<'py>,
    window: Pair<usize>,
    size: Pair<usize>,
) -> PyResult<(Array<'py>,)> {
    let dims = checked(dims(windows.shape(), window.into(), size.into()))?;
    with_dtype!(T of dy => {
        let (dy, mut dwindows) = (Input::<T>::shaped("dy", &dy, &dims.shape())?, Output::<T>::like(&windows)?);
        let (dy, dwindows_slice) = (dy.slice(), dwindows.slice());
        call(py, |exec| window_reverse::backward(dy, dwindows_slice, &dims, exec))?;
        Ok((dwindows.array(),))
    })
}
