//! relative_bias: arrays in, arrays out.

use numpy::PyUntypedArrayMethods;
use pyhybrid_kernels::relative_bias::{self, Dims};
use pyo3::prelude::*;

use crate::arrays::{Array, Input, Output, Pair, call, checked, with_dtype};

#[pyfunction]
pub fn relative_bias_forward<'py>(py: Python<'py>, table: Array<'py>, size: Pair<usize>) -> PyResult<(Array<'py>,)> {
    let dims = checked(Dims::new(table.shape(), size.into()))?;
    with_dtype!(T of table => {
        let (table, mut bias) = (Input::<T>::new("table", &table)?, Output::<T>::empty(py, &dims.shape())?);
        let (table, bias_slice) = (table.slice(), bias.slice());
        call(py, |exec| relative_bias::forward(table, bias_slice, &dims, exec))?;
        Ok((bias.array(),))
    })
}

#[pyfunction]
pub fn relative_bias_backward<'py>(
    py: Python<'py>,
    dy: Array<'py>,
    table: Array<'py>,
    size: Pair<usize>,
) -> PyResult<(Array<'py>,)> {
    let dims = checked(Dims::new(table.shape(), size.into()))?;
    with_dtype!(T of dy => {
        let (dy, mut dtable) = (Input::<T>::shaped("dy", &dy, &dims.shape())?, Output::<T>::like(&table)?);
        let (dy, dtable_slice) = (dy.slice(), dtable.slice());
        call(py, |exec| relative_bias::backward(dy, dtable_slice, &dims, exec))?;
        Ok((dtable.array(),))
    })
}
