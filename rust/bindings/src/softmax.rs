//! softmax: arrays in, arrays out.

use numpy::PyUntypedArrayMethods;
use pyhybrid_kernels::softmax::{self, Dims};
use pyo3::prelude::*;

use crate::arrays::{Array, Input, Int, Output, call, checked, with_dtype};

#[pyfunction]
pub fn softmax_forward<'py>(py: Python<'py>, x: Array<'py>, axis: Int<isize>) -> PyResult<[Array<'py>; 2]> {
    let dims = checked(Dims::new(x.shape(), axis.0))?;
    with_dtype!(T of x => {
        let (mut y, mut a) = (Output::<T>::like(&x)?, Output::<T>::like(&x)?);
        let x = Input::<T>::new("x", &x)?;
        let (x, y_slice, a_slice) = (x.slice(), y.slice(), a.slice());
        // The saved copy is an array of its own: whoever changes the output in place must not change the gradient.
        call(py, |exec| {
            softmax::forward(x, y_slice, &dims, exec)?;
            let (len, part) = (y_slice.len(), 1 << 14);
            exec.for_each(len / 2, a_slice.chunks_mut(part).zip(y_slice.chunks(part)), |(a, y)| a.copy_from_slice(y))
        })?;
        Ok([y.array(), a.array()])
    })
}

#[pyfunction]
pub fn softmax_backward<'py>(
    py: Python<'py>,
    dy: Array<'py>,
    axis: Int<isize>,
    a: Array<'py>,
) -> PyResult<(Array<'py>,)> {
    let dims = checked(Dims::new(a.shape(), axis.0))?;
    with_dtype!(T of dy => {
        let (da, a, mut dx) = (Input::<T>::shaped("dy", &dy, a.shape())?, Input::<T>::new("a", &a)?, Output::<T>::like(&a)?);
        let (da, a, dx_slice) = (da.slice(), a.slice(), dx.slice());
        call(py, |exec| softmax::backward(da, a, dx_slice, &dims, exec))?;
        Ok((dx.array(),))
    })
}
