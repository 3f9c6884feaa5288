//! spectrum_resize: arrays in, arrays out.

use numpy::PyUntypedArrayMethods;
use pyhybrid_kernels::spectrum_resize::{self, Dims};
use pyo3::prelude::*;

use crate::arrays::{Array, Input, Output, Pair, call, checked, with_dtype};

#[pyfunction]
pub fn spectrum_resize_forward<'py>(py: Python<'py>, weight: Array<'py>, size: Pair<usize>) -> PyResult<(Array<'py>,)> {
    let dims = checked(Dims::new(weight.shape(), size.into()))?;
    with_dtype!(T of weight => {
        let (weight, mut y) = (Input::<T>::new("weight", &weight)?, Output::<T>::empty(py, &dims.output())?);
        let (weight, y_slice) = (weight.slice(), y.slice());
        call(py, |exec| spectrum_resize::forward(weight, y_slice, &dims, exec))?;
        Ok((y.array(),))
    })
}

#[pyfunction]
pub fn spectrum_resize_backward<'py>(
    py: Python<'py>,
    dy: Array<'py>,
    weight: Array<'py>,
    size: Pair<usize>,
) -> PyResult<(Array<'py>,)> {
    let dims = checked(Dims::new(weight.shape(), size.into()))?;
    with_dtype!(T of dy => {
        let (dy, mut dweight) = (Input::<T>::shaped("dy", &dy, &dims.output())?, Output::<T>::like(&weight)?);
        let (dy, dweight_slice) = (dy.slice(), dweight.slice());
        call(py, |exec| spectrum_resize::backward(dy, dweight_slice, &dims, exec))?;
        Ok((dweight.array(),))
    })
}
