//! gated_conv: arrays in, arrays out.

use numpy::PyUntypedArrayMethods;
use pyhybrid_kernels::gated_conv::{self, Dims};
use pyo3::prelude::*;

use crate::arrays::{Array, Input, Output, call, checked, with_dtype};

#[pyfunction]
#[pyo3(signature = (p, q, weight, bias))]
pub fn gated_conv_forward<'py>(
    py: Python<'py>,
    p: Array<'py>,
    q: Array<'py>,
    weight: Array<'py>,
    bias: Option<Array<'py>>,
) -> PyResult<[Array<'py>; 2]> {
    let dims = dims(&p, &q, &weight, bias.as_ref())?;
    with_dtype!(T of p => {
        let (mut y, mut f) = (Output::<T>::like(&p)?, Output::<T>::like(&p)?);
        let (p, q, weight) = (Input::<T>::new("p", &p)?, Input::<T>::new("q", &q)?, Input::<T>::new("weight", &weight)?);
        let bias = Input::<T>::optional("bias", bias.as_ref())?;
        let (p, q, weight, bias) = (p.slice(), q.slice(), weight.slice(), bias.as_ref().map(Input::slice));
        let (y_slice, f_slice) = (y.slice(), f.slice());
        call(py, |exec| gated_conv::forward(p, q, weight, bias, y_slice, f_slice, &dims, exec))?;
        Ok([y.array(), f.array()])
    })
}

#[pyfunction]
#[pyo3(signature = (dy, p, q, weight, bias, f))]
pub fn gated_conv_backward<'py>(
    dy: Array<'py>,
    p: Array<'py>,
    q: Array<'py>,
    weight: Array<'py>,
    bias: Option<Array<'py>>,
    f: Array<'py>,
) -> PyResult<(Array<'py>, Array<'py>, Array<'py>, Option<Array<'py>>)> {
    let (py, dims) = (dy.py(), dims(&p, &q, &weight, bias.as_ref())?);
    with_dtype!(T of dy => {
        let (dy, f) = (Input::<T>::shaped("dy", &dy, p.shape())?, Input::<T>::shaped("f", &f, p.shape())?);
        let (mut dp, mut dq, mut dweight) = (Output::<T>::like(&p)?, Output::<T>::like(&q)?, Output::<T>::like(&weight)?);
        Input::<T>::optional("bias", bias.as_ref())?;
        let mut dbias = bias.as_ref().map(Output::<T>::like).transpose()?;
        let (p, q, weight) = (Input::<T>::new("p", &p)?, Input::<T>::new("q", &q)?, Input::<T>::new("weight", &weight)?);
        let (dy, p, q, weight, f) = (dy.slice(), p.slice(), q.slice(), weight.slice(), f.slice());
        let (grads, dbias_slice) = ([dp.slice(), dq.slice(), dweight.slice()], dbias.as_mut().map(Output::slice));
        call(py, |exec| gated_conv::backward(dy, p, q, weight, f, grads, dbias_slice, &dims, exec))?;
        Ok((dp.array(), dq.array(), dweight.array(), dbias.map(Output::array)))
    })
}

fn dims(p: &Array<'_>, q: &Array<'_>, weight: &Array<'_>, bias: Option<&Array<'_>>) -> PyResult<Dims> {
    checked(Dims::new(p.shape(), q.shape(), weight.shape(), bias.map(|bias| bias.shape())))
}
