//! shift_sum: arrays in, arrays out.

use numpy::PyUntypedArrayMethods;
use pyhybrid_kernels::shift_sum::{self, Dims};
use pyo3::prelude::*;

use crate::arrays::{Array, Input, Output, Pair, call, checked, with_dtype};

#[pyfunction]
pub fn shift_sum_forward<'py>(
    py: Python<'py>,
    maps: Array<'py>,
    kernel_size: Pair<usize>,
    stride: Pair<usize>,
) -> PyResult<(Array<'py>,)> {
    let d = checked(Dims::new(maps.shape(), kernel_size.into(), stride.into()))?;
    with_dtype!(T of maps => {
        let (maps, mut y) = (Input::<T>::new("maps", &maps)?, Output::<T>::empty(py, &d.output())?);
        let (maps, y_slice) = (maps.slice(), y.slice());
        call(py, |exec| shift_sum::forward(maps, y_slice, &d, exec))?;
        Ok((y.array(),))
    })
}

#[pyfunction]
pub fn shift_sum_backward<'py>(
    py: Python<'py>,
    dy: Array<'py>,
    maps: Array<'py>,
    kernel_size: Pair<usize>,
    stride: Pair<usize>,
) -> PyResult<(Array<'py>,)> {
    let d = checked(Dims::new(maps.shape(), kernel_size.into(), stride.into()))?;
    with_dtype!(T of dy => {
        let (dy, mut dmaps) = (Input::<T>::shaped("dy", &dy, &d.output())?, Output::<T>::like(&maps)?);
        let (dy, dmaps_slice) = (dy.slice(), dmaps.slice());
        call(py, |exec| shift_sum::backward(dy, dmaps_slice, &d, exec))?;
        Ok((dmaps.array(),))
    })
}
