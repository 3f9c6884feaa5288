//! relative_attention: arrays in, arrays out.

use numpy::PyUntypedArrayMethods;
use pyhybrid_kernels::attention::{Gradients, Inputs};
use pyhybrid_kernels::relative_attention::{self, Dims};
use pyo3::prelude::*;

use crate::arrays::{Array, Input, Output, Pair, call, checked, with_dtype};

#[pyfunction]
#[pyo3(signature = (q, k, v, table, size, form, sign, scale))]
#[allow(clippy::too_many_arguments)]
pub fn relative_attention_forward<'py>(
    py: Python<'py>,
    q: Array<'py>,
    k: Array<'py>,
    v: Array<'py>,
    table: Array<'py>,
    size: Pair<usize>,
    form: &str,
    sign: &str,
    scale: Option<f64>,
) -> PyResult<(Array<'py>, Array<'py>)> {
    let dims = Dims::new(q.shape(), k.shape(), v.shape(), table.shape(), size.into(), form, sign, scale);
    let dims = checked(dims)?;
    with_dtype!(T of q => {
        let (mut o, mut lse) = (Output::<T>::empty(py, &dims.o_shape())?, Output::<T>::empty(py, &dims.lse_shape())?);
        let (q, k, v) = (Input::<T>::new("q", &q)?, Input::<T>::new("k", &k)?, Input::<T>::new("v", &v)?);
        let table = Input::<T>::new("table", &table)?;
        let inputs = Inputs { q: q.slice(), k: k.slice(), v: v.slice(), bias: None };
        let (table, o_slice, lse_slice) = (table.slice(), o.slice(), lse.slice());
        call(py, |exec| relative_attention::forward(inputs, table, o_slice, lse_slice, &dims, exec))?;
        Ok((o.array(), lse.array()))
    })
}

#[pyfunction]
#[pyo3(signature = (dy, q, k, v, table, size, form, sign, scale, lse))]
#[allow(clippy::too_many_arguments)]
pub fn relative_attention_backward<'py>(
    py: Python<'py>,
    dy: Array<'py>,
    q: Array<'py>,
    k: Array<'py>,
    v: Array<'py>,
    table: Array<'py>,
    size: Pair<usize>,
    form: &str,
    sign: &str,
    scale: Option<f64>,
    lse: Array<'py>,
) -> PyResult<(Array<'py>, Array<'py>, Array<'py>, Array<'py>)> {
    let dims = Dims::new(q.shape(), k.shape(), v.shape(), table.shape(), size.into(), form, sign, scale);
    let dims = checked(dims)?;
    with_dtype!(T of q => {
        let (mut dq, mut dk, mut dv) = (Output::<T>::like(&q)?, Output::<T>::like(&k)?, Output::<T>::like(&v)?);
        let mut dtable = Output::<T>::like(&table)?;
        let (dy, lse) = (Input::<T>::shaped("dy", &dy, &dims.o_shape())?, Input::<T>::shaped("lse", &lse, &dims.lse_shape())?);
        let (q, k, v) = (Input::<T>::new("q", &q)?, Input::<T>::new("k", &k)?, Input::<T>::new("v", &v)?);
        let table = Input::<T>::new("table", &table)?;
        let inputs = Inputs { q: q.slice(), k: k.slice(), v: v.slice(), bias: None };
        let grads = Gradients { q: dq.slice(), k: dk.slice(), v: dv.slice(), bias: Some(dtable.slice()) };
        let (dy, table, lse) = (dy.slice(), table.slice(), lse.slice());
        call(py, |exec| relative_attention::backward(dy, inputs, table, lse, grads, &dims, exec))?;
        Ok((dq.array(), dk.array(), dv.array(), dtable.array()))
    })
}
