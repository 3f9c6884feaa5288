//! linear_attention: arrays in, arrays out.

use numpy::PyUntypedArrayMethods;
use pyhybrid_kernels::linear_attention::{self, Dims, Gradients};
use pyo3::prelude::*;

use crate::arrays::{Array, Input, Output, call, checked, with_dtype};

#[pyfunction]
pub fn linear_attention_forward<'py>(
    py: Python<'py>,
    q: Array<'py>,
    k: Array<'py>,
    v: Array<'py>,
    kind: &str,
    eps: f64,
) -> PyResult<(Array<'py>,)> {
    let dims = checked(Dims::new(q.shape(), k.shape(), v.shape(), kind, eps))?;
    with_dtype!(T of q => {
        let mut y = Output::<T>::empty(py, &dims.y_shape())?;
        let (q, k, v) = (Input::<T>::new("q", &q)?, Input::<T>::new("k", &k)?, Input::<T>::new("v", &v)?);
        let (q, k, v, y_slice) = (q.slice(), k.slice(), v.slice(), y.slice());
        call(py, |exec| linear_attention::forward(q, k, v, y_slice, &dims, exec))?;
        Ok((y.array(),))
    })
}

#[pyfunction]
pub fn linear_attention_backward<'py>(
    py: Python<'py>,
    dy: Array<'py>,
    q: Array<'py>,
    k: Array<'py>,
    v: Array<'py>,
    kind: &str,
    eps: f64,
) -> PyResult<(Array<'py>, Array<'py>, Array<'py>)> {
    let dims = checked(Dims::new(q.shape(), k.shape(), v.shape(), kind, eps))?;
    with_dtype!(T of q => {
        let (mut dq, mut dk, mut dv) = (Output::<T>::like(&q)?, Output::<T>::like(&k)?, Output::<T>::like(&v)?);
        let dy = Input::<T>::shaped("dy", &dy, &dims.y_shape())?;
        let (q, k, v) = (Input::<T>::new("q", &q)?, Input::<T>::new("k", &k)?, Input::<T>::new("v", &v)?);
        let grads = Gradients { q: dq.slice(), k: dk.slice(), v: dv.slice() };
        let (dy, q, k, v) = (dy.slice(), q.slice(), k.slice(), v.slice());
        call(py, |exec| linear_attention::backward(dy, q, k, v, grads, &dims, exec))?;
        Ok((dq.array(), dk.array(), dv.array()))
    })
}
