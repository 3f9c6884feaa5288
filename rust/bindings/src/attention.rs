//! attention: arrays in, arrays out.

use numpy::PyUntypedArrayMethods;
use pyhybrid_kernels::attention::{self, Dims, Gradients, Inputs};
use pyo3::prelude::*;

use crate::arrays::{Array, Input, Output, call, checked, with_dtype};

type Backward<'py> = (Array<'py>, Array<'py>, Array<'py>, Option<Array<'py>>);

#[pyfunction]
pub fn attention_forward<'py>(
    py: Python<'py>,
    q: Array<'py>,
    k: Array<'py>,
    v: Array<'py>,
    bias: Option<Array<'py>>,
    scale: Option<f64>,
) -> PyResult<(Array<'py>, Array<'py>)> {
    let dims = checked(Dims::new(q.shape(), k.shape(), v.shape(), bias.as_ref().map(|bias| bias.shape()), scale))?;
    with_dtype!(T of q => {
        let (mut o, mut lse) = (Output::<T>::empty(py, &dims.o_shape())?, Output::<T>::empty(py, &dims.lse_shape())?);
        let (q, k, v) = (Input::<T>::new("q", &q)?, Input::<T>::new("k", &k)?, Input::<T>::new("v", &v)?);
        let bias = Input::<T>::optional("bias", bias.as_ref())?;
        let inputs = Inputs { q: q.slice(), k: k.slice(), v: v.slice(), bias: bias.as_ref().map(Input::slice) };
        let (o_slice, lse_slice) = (o.slice(), lse.slice());
        call(py, |exec| attention::forward(inputs, o_slice, lse_slice, &dims, exec))?;
        Ok((o.array(), lse.array()))
    })
}

#[pyfunction]
#[allow(clippy::too_many_arguments)]
pub fn attention_backward<'py>(
    py: Python<'py>,
    dy: Array<'py>,
    q: Array<'py>,
    k: Array<'py>,
    v: Array<'py>,
    bias: Option<Array<'py>>,
    scale: Option<f64>,
    lse: Array<'py>,
) -> PyResult<Backward<'py>> {
    let dims = checked(Dims::new(q.shape(), k.shape(), v.shape(), bias.as_ref().map(|bias| bias.shape()), scale))?;
    with_dtype!(T of q => {
        let (mut dq, mut dk, mut dv) = (Output::<T>::like(&q)?, Output::<T>::like(&k)?, Output::<T>::like(&v)?);
        let mut dbias = bias.as_ref().map(Output::<T>::like).transpose()?;
        let (dy, lse) = (Input::<T>::shaped("dy", &dy, &dims.o_shape())?, Input::<T>::shaped("lse", &lse, &dims.lse_shape())?);
        let (q, k, v) = (Input::<T>::new("q", &q)?, Input::<T>::new("k", &k)?, Input::<T>::new("v", &v)?);
        let bias = Input::<T>::optional("bias", bias.as_ref())?;
        let inputs = Inputs { q: q.slice(), k: k.slice(), v: v.slice(), bias: bias.as_ref().map(Input::slice) };
        let grads = Gradients { q: dq.slice(), k: dk.slice(), v: dv.slice(), bias: dbias.as_mut().map(Output::slice) };
        let (dy, lse) = (dy.slice(), lse.slice());
        call(py, |exec| attention::backward(dy, inputs, lse, grads, &dims, exec))?;
        Ok((dq.array(), dk.array(), dv.array(), dbias.map(Output::array)))
    })
}
