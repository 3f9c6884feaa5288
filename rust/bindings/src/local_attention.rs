//! local_attention: arrays in, arrays out.

use numpy::PyUntypedArrayMethods;
use pyhybrid_kernels::local_attention::{self, Config, Dims, Gradients, Inputs};
use pyo3::prelude::*;

use crate::arrays::{Array, Input, Output, Pair, call, checked, with_dtype};

type Forward<'py> = (Array<'py>, Array<'py>);
type Backward<'py> = (Array<'py>, Array<'py>, Array<'py>, Option<Array<'py>>);

#[pyfunction]
#[allow(clippy::too_many_arguments)]
pub fn local_attention_forward<'py>(
    py: Python<'py>,
    q: Array<'py>,
    k: Array<'py>,
    v: Array<'py>,
    pe: Option<Array<'py>>,
    heads: usize,
    kernel_size: usize,
    stride: Pair<usize>,
    border: &str,
    scale: Option<f64>,
) -> PyResult<Forward<'py>> {
    let config = Config { heads, kernel_size, stride: stride.into(), border, scale };
    let dims = checked(Dims::new(q.shape(), k.shape(), v.shape(), pe.as_ref().map(|pe| pe.shape()), config))?;
    with_dtype!(T of q => {
        let (mut o, mut lse) = (Output::<T>::empty(py, &dims.o_shape())?, Output::<T>::empty(py, &dims.lse_shape())?);
        let (q, k, v) = (Input::<T>::new("q", &q)?, Input::<T>::new("k", &k)?, Input::<T>::new("v", &v)?);
        let pe = Input::<T>::optional("pe", pe.as_ref())?;
        let inputs = Inputs { q: q.slice(), k: k.slice(), v: v.slice(), pe: pe.as_ref().map(Input::slice) };
        let (o_slice, lse_slice) = (o.slice(), lse.slice());
        call(py, |exec| local_attention::forward(inputs, o_slice, lse_slice, &dims, exec))?;
        Ok((o.array(), lse.array()))
    })
}

#[pyfunction]
#[allow(clippy::too_many_arguments)]
pub fn local_attention_backward<'py>(
    py: Python<'py>,
    dy: Array<'py>,
    q: Array<'py>,
    k: Array<'py>,
    v: Array<'py>,
    pe: Option<Array<'py>>,
    heads: usize,
    kernel_size: usize,
    stride: Pair<usize>,
    border: &str,
    scale: Option<f64>,
    lse: Array<'py>,
) -> PyResult<Backward<'py>> {
    let config = Config { heads, kernel_size, stride: stride.into(), border, scale };
    let dims = checked(Dims::new(q.shape(), k.shape(), v.shape(), pe.as_ref().map(|pe| pe.shape()), config))?;
    with_dtype!(T of q => {
        let (mut dq, mut dk, mut dv) = (Output::<T>::like(&q)?, Output::<T>::like(&k)?, Output::<T>::like(&v)?);
        let mut dpe = pe.as_ref().map(Output::<T>::like).transpose()?;
        let (dy, q, k, v) = (Input::<T>::new("dy", &dy)?, Input::<T>::new("q", &q)?, Input::<T>::new("k", &k)?, Input::<T>::new("v", &v)?);
        let (pe, lse) = (Input::<T>::optional("pe", pe.as_ref())?, Input::<T>::new("lse", &lse)?);
        let inputs = Inputs { q: q.slice(), k: k.slice(), v: v.slice(), pe: pe.as_ref().map(Input::slice) };
        let grads = Gradients { q: dq.slice(), k: dk.slice(), v: dv.slice(), pe: dpe.as_mut().map(Output::slice) };
        let (dy, lse) = (dy.slice(), lse.slice());
        call(py, |exec| local_attention::backward(dy, inputs, lse, grads, &dims, exec))?;
        Ok((dq.array(), dk.array(), dv.array(), dpe.map(Output::array)))
    })
}
