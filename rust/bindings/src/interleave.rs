//! interleave: arrays in, arrays out.

use numpy::PyUntypedArrayMethods;
use pyhybrid_kernels::interleave::{self, Dims};
use pyo3::prelude::*;

use crate::arrays::{Array, Input, Output, call, checked, with_dtype};

#[pyfunction]
pub fn interleave_forward<'py>(py: Python<'py>, a: Array<'py>, b: Array<'py>) -> PyResult<(Array<'py>,)> {
    let dims = checked(Dims::new(a.shape(), b.shape()))?;
    with_dtype!(T of a => {
        let (a, b, mut y) = (Input::<T>::new("a", &a)?, Input::<T>::new("b", &b)?, Output::<T>::empty(py, &dims.output())?);
        let (a, b, y_slice) = (a.slice(), b.slice(), y.slice());
        call(py, |exec| interleave::forward(a, b, y_slice, &dims, exec))?;
        Ok((y.array(),))
    })
}

#[pyfunction]
pub fn interleave_backward<'py>(
    py: Python<'py>,
    dy: Array<'py>,
    a: Array<'py>,
    b: Array<'py>,
) -> PyResult<[Array<'py>; 2]> {
    let dims = checked(Dims::new(a.shape(), b.shape()))?;
    with_dtype!(T of dy => {
        let dy = Input::<T>::shaped("dy", &dy, &dims.output())?;
        let (mut da, mut db) = (Output::<T>::like(&a)?, Output::<T>::like(&b)?);
        let (dy, da_slice, db_slice) = (dy.slice(), da.slice(), db.slice());
        call(py, |exec| interleave::backward(dy, da_slice, db_slice, &dims, exec))?;
        Ok([da.array(), db.array()])
    })
}
