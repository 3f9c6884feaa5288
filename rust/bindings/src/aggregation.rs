//! aggregation: arrays in, arrays out.

use numpy::PyUntypedArrayMethods;
use pyhybrid_kernels::aggregation::{self, Dims};
use pyo3::prelude::*;

use crate::arrays::{Array, Input, Int, Output, Pair, call, checked, with_dtype};

#[pyfunction]
pub fn aggregation_forward<'py>(
    py: Python<'py>,
    weight: Array<'py>,
    v: Array<'py>,
    kernel_size: Int<usize>,
    stride: Pair<usize>,
) -> PyResult<(Array<'py>,)> {
    let dims = checked(Dims::new(weight.shape(), v.shape(), kernel_size.0, stride.into()))?;
    with_dtype!(T of v => {
        let (weight, v) = (Input::<T>::new("weight", &weight)?, Input::<T>::new("v", &v)?);
        let mut y = Output::<T>::empty(py, &dims.shape())?;
        let (weight, v, y_slice) = (weight.slice(), v.slice(), y.slice());
        call(py, |exec| aggregation::forward(weight, v, y_slice, &dims, exec))?;
        Ok((y.array(),))
    })
}

#[pyfunction]
pub fn aggregation_backward<'py>(
    py: Python<'py>,
    dy: Array<'py>,
    weight: Array<'py>,
    v: Array<'py>,
    kernel_size: Int<usize>,
    stride: Pair<usize>,
) -> PyResult<[Array<'py>; 2]> {
    let dims = checked(Dims::new(weight.shape(), v.shape(), kernel_size.0, stride.into()))?;
    with_dtype!(T of dy => {
        let (mut dweight, mut dv) = (Output::<T>::like(&weight)?, Output::<T>::like(&v)?);
        let dy = Input::<T>::shaped("dy", &dy, &dims.shape())?;
        let (weight, v) = (Input::<T>::new("weight", &weight)?, Input::<T>::new("v", &v)?);
        let (dy, inputs, grads) = (dy.slice(), (weight.slice(), v.slice()), (dweight.slice(), dv.slice()));
        call(py, |exec| aggregation::backward(dy, inputs, grads, &dims, exec))?;
        Ok([dweight.array(), dv.array()])
    })
}
