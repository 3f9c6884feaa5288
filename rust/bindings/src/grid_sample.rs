//! grid_sample: arrays in, arrays out.

use numpy::PyUntypedArrayMethods;
use pyhybrid_kernels::grid_sample::{self, Dims};
use pyo3::prelude::*;

use crate::arrays::{Array, Input, Output, call, checked, with_dtype};

#[pyfunction]
pub fn grid_sample_forward<'py>(
    py: Python<'py>,
    x: Array<'py>,
    grid: Array<'py>,
    align_corners: bool,
) -> PyResult<(Array<'py>,)> {
    let dims = checked(Dims::new(x.shape(), grid.shape(), align_corners))?;
    with_dtype!(T of x => {
        let (x, grid) = (Input::<T>::new("x", &x)?, Input::<T>::new("grid", &grid)?);
        let mut y = Output::<T>::empty(py, &dims.output())?;
        let (x, grid, y_slice) = (x.slice(), grid.slice(), y.slice());
        call(py, |exec| grid_sample::forward(x, grid, y_slice, &dims, exec))?;
        Ok((y.array(),))
    })
}

#[pyfunction]
pub fn grid_sample_backward<'py>(
    py: Python<'py>,
    dy: Array<'py>,
    x: Array<'py>,
    grid: Array<'py>,
    align_corners: bool,
) -> PyResult<[Array<'py>; 2]> {
    let dims = checked(Dims::new(x.shape(), grid.shape(), align_corners))?;
    with_dtype!(T of dy => {
        let (mut dx, mut dgrid) = (Output::<T>::like(&x)?, Output::<T>::like(&grid)?);
        let dy = Input::<T>::shaped("dy", &dy, &dims.output())?;
        let (x, grid) = (Input::<T>::new("x", &x)?, Input::<T>::new("grid", &grid)?);
        let (dy, x, grid, dx_slice, dgrid_slice) = (dy.slice(), x.slice(), grid.slice(), dx.slice(), dgrid.slice());
        call(py, |exec| grid_sample::backward(dy, x, grid, dx_slice, dgrid_slice, &dims, exec))?;
        Ok([dx.array(), dgrid.array()])
    })
}
