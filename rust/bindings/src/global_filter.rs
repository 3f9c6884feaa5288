//! global_filter: arrays in, arrays out.

use numpy::PyUntypedArrayMethods;
use pyhybrid_kernels::global_filter::{self, Dims};
use pyo3::prelude::*;

use crate::arrays::{Array, Input, Output, call, checked, with_dtype};

#[pyfunction]
pub fn global_filter_forward<'py>(py: Python<'py>, x: Array<'py>, weight: Array<'py>) -> PyResult<(Array<'py>,)> {
    let dims = checked(Dims::new(x.shape(), weight.shape()))?;
    with_dtype!(T of x => {
        let (weight, mut y) = (Input::<T>::new("weight", &weight)?, Output::<T>::like(&x)?);
        let x = Input::<T>::new("x", &x)?;
        let (x, weight, y_slice) = (x.slice(), weight.slice(), y.slice());
        call(py, |exec| global_filter::forward(x, weight, y_slice, &dims, exec))?;
        Ok((y.array(),))
    })
}

#[pyfunction]
pub fn global_filter_backward<'py>(
    py: Python<'py>,
    dy: Array<'py>,
    x: Array<'py>,
    weight: Array<'py>,
) -> PyResult<[Array<'py>; 2]> {
    let dims = checked(Dims::new(x.shape(), weight.shape()))?;
    with_dtype!(T of dy => {
        let dy = Input::<T>::shaped("dy", &dy, x.shape())?;
        let (mut dx, mut dweight) = (Output::<T>::like(&x)?, Output::<T>::like(&weight)?);
        let (x, weight) = (Input::<T>::new("x", &x)?, Input::<T>::new("weight", &weight)?);
        let (dy, x, weight, dx_slice, dweight_slice) =
            (dy.slice(), x.slice(), weight.slice(), dx.slice(), dweight.slice());
        call(py, |exec| global_filter::backward(dy, x, weight, dx_slice, dweight_slice, &dims, exec))?;
        Ok([dx.array(), dweight.array()])
    })
}
