//! bilinear_sample: arrays in, arrays out.

use numpy::PyUntypedArrayMethods;
use pyhybrid_kernels::bilinear_sample::{self, Dims, Gradients};
use pyo3::prelude::*;

use crate::arrays::{Array, Input, Output, call, checked, with_dtype};

/// Shape of s; the shapes were checked.
fn output(x: &Array, ys: &Array) -> Vec<usize> {
    x.shape().iter().take(2).chain(ys.shape().iter().skip(1)).copied().collect()
}

#[pyfunction]
pub fn bilinear_sample_forward<'py>(
    py: Python<'py>,
    x: Array<'py>,
    ys: Array<'py>,
    xs: Array<'py>,
) -> PyResult<(Array<'py>,)> {
    let dims = checked(Dims::new(x.shape(), ys.shape(), xs.shape()))?;
    with_dtype!(T of x => {
        let mut s = Output::<T>::empty(py, &output(&x, &ys))?;
        let (x, ys, xs) = (Input::<T>::new("x", &x)?, Input::<T>::new("ys", &ys)?, Input::<T>::new("xs", &xs)?);
        let (x, ys, xs, s_slice) = (x.slice(), ys.slice(), xs.slice(), s.slice());
        call(py, |exec| bilinear_sample::forward(x, ys, xs, s_slice, &dims, exec))?;
        Ok((s.array(),))
    })
}

#[pyfunction]
pub fn bilinear_sample_backward<'py>(
    py: Python<'py>,
    dy: Array<'py>,
    x: Array<'py>,
    ys: Array<'py>,
    xs: Array<'py>,
) -> PyResult<[Array<'py>; 3]> {
    let dims = checked(Dims::new(x.shape(), ys.shape(), xs.shape()))?;
    with_dtype!(T of dy => {
        let (mut dx, mut dys, mut dxs) = (Output::<T>::like(&x)?, Output::<T>::like(&ys)?, Output::<T>::like(&xs)?);
        let dy = Input::<T>::shaped("dy", &dy, &output(&x, &ys))?;
        let (x, ys, xs) = (Input::<T>::new("x", &x)?, Input::<T>::new("ys", &ys)?, Input::<T>::new("xs", &xs)?);
        let gradients = Gradients { dx: dx.slice(), dys: dys.slice(), dxs: dxs.slice() };
        let (dy, x, ys, xs) = (dy.slice(), x.slice(), ys.slice(), xs.slice());
        call(py, |exec| bilinear_sample::backward(dy, x, ys, xs, gradients, &dims, exec))?;
        Ok([dx.array(), dys.array(), dxs.array()])
    })
}
