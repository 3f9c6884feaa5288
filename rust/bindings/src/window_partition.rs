//! window_partition: arrays in, arrays out.

use numpy::PyUntypedArrayMethods;
use pyhybrid_kernels::window_partition::{self, Dims};
use pyo3::prelude::*;

use crate::arrays::{Array, Input, Output, Pair, call, checked, with_dtype};

#[pyfunction]
pub fn window_partition_forward<'py>(py: Python<'py>, x: Array<'py>, window: Pair<usize>) -> PyResult<(Array<'py>,)> {
    let dims = checked(Dims::new(x.shape(), window.into()))?;
    with_dtype!(T of x => {
        let (x, mut windows) = (Input::<T>::new("x", &x)?, Output::<T>::empty(py, &dims.windows())?);
        let (x, windows_slice) = (x.slice(), windows.slice());
        call(py, |exec| window_partition::forward(x, windows_slice, &dims, exec))?;
        Ok((windows.array(),))
    })
}

#[pyfunction]
pub fn window_partition_backward<'py>(
    py: Python<'py>,
    dy: Array<'py>,
    x: Array<'py>,
    window: Pair<usize>,
) -> PyResult<(Array<'py>,)> {
    let dims = checked(Dims::new(x.shape(), window.into()))?;
    with_dtype!(T of dy => {
        let (dy, mut dx) = (Input::<T>::shaped("dy", &dy, &dims.windows())?, Output::<T>::like(&x)?);
        let (dy, dx_slice) = (dy.slice(), dx.slice());
        call(py, |exec| window_partition::backward(dy, dx_slice, &dims, exec))?;
        Ok((dx.array(),))
    })
}
