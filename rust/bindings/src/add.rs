//! add: arrays in, arrays out.

use numpy::PyUntypedArrayMethods;
use pyhybrid_kernels::add;
use pyo3::prelude::*;

use crate::arrays::{Array, Input, Output, call, checked, with_dtype};

#[pyfunction]
pub fn add_forward<'py>(py: Python<'py>, a: Array<'py>, b: Array<'py>) -> PyResult<(Array<'py>,)> {
    checked(add::check(a.shape(), b.shape()))?;
    with_dtype!(T of a => {
        let mut y = Output::<T>::like(&a)?;
        let (a, b) = (Input::<T>::new("a", &a)?, Input::<T>::new("b", &b)?);
        let (a, b, y_slice) = (a.slice(), b.slice(), y.slice());
        call(py, |exec| add::forward(a, b, y_slice, exec))?;
        Ok((y.array(),))
    })
}

#[pyfunction]
pub fn add_backward<'py>(py: Python<'py>, dy: Array<'py>, a: Array<'py>, b: Array<'py>) -> PyResult<[Array<'py>; 2]> {
    checked(add::check(a.shape(), b.shape()))?;
    with_dtype!(T of dy => {
        let dy = Input::<T>::shaped("dy", &dy, a.shape())?;
        let (mut da, mut db) = (Output::<T>::like(&a)?, Output::<T>::like(&b)?);
        let (dy, da_slice, db_slice) = (dy.slice(), da.slice(), db.slice());
        call(py, |exec| add::backward(dy, da_slice, db_slice, exec))?;
        Ok([da.array(), db.array()])
    })
}
