//! local_relative_attention: arrays in, arrays out.

use numpy::PyUntypedArrayMethods;
use pyhybrid_kernels::local_relative_attention::{self, Dims, Gradients, Inputs};
use pyo3::prelude::*;

use crate::arrays::{Array, Input, Int, Output, Pair, call, checked, with_dtype};

#[pyfunction]
#[pyo3(signature = (q, k, v, table, size, radius, form, scale))]
#[allow(clippy::too_many_arguments)]
pub fn local_relative_attention_forward<'py>(
    py: Python<'py>,
    q: Array<'py>,
    k: Array<'py>,
    v: Array<'py>,
    table: Array<'py>,
    size: Pair<usize>,
    radius: Int<usize>,
    form: &str,
    scale: Option<f64>,
) -> PyResult<(Array<'py>, Array<'py>)> {
    let dims = Dims::new(q.shape(), k.shape(), v.shape(), table.shape(), size.into(), radius.0, form, scale);
    let dims = checked(dims)?;
    with_dtype!(T of q => {
        let (mut o, mut lse) = (Output::<T>::empty(py, &dims.o_shape())?, Output::<T>::empty(py, &dims.lse_shape())?);
        let (q, k, v) = (Input::<T>::new("q", &q)?, Input::<T>::new("k", &k)?, Input::<T>::new("v", &v)?);
        let table = Input::<T>::new("table", &table)?;
        let inputs = Inputs { q: q.slice(), k: k.slice(), v: v.slice(), table: table.slice() };
        let (o_slice, lse_slice) = (o.slice(), lse.slice());
        call(py, |exec| local_relative_attention::forward(inputs, o_slice, lse_slice, &dims, exec))?;
        Ok((o.array(), lse.array()))
    })
}

#[pyfunction]
#[pyo3(signature = (dy, q, k, v, table, size, radius, form, scale, lse))]
#[allow(clippy::too_many_arguments)]
pub fn local_relative_attention_backward<'py>(
    py: Python<'py>,
    dy: Array<'py>,
    q: Array<'py>,
    k: Array<'py>,
    v: Array<'py>,
    table: Array<'py>,
    size: Pair<usize>,
    radius: Int<usize>,
    form: &str,
    scale: Option<f64>,
    lse: Array<'py>,
) -> PyResult<(Array<'py>, Array<'py>, Array<'py>, Array<'py>)> {
    let dims = Dims::new(q.shape(), k.shape(), v.shape(), table.shape(), size.into(), radius.0, form, scale);
    let dims = checked(dims)?;
    with_dtype!(T of q => {
        let (mut dq, mut dk, mut dv) = (Output::<T>::like(&q)?, Output::<T>::like(&k)?, Output::<T>::like(&v)?);
        let mut dtable = Output::<T>::like(&table)?;
        let (dy, lse) = (Input::<T>::shaped("dy", &dy, &dims.o_shape())?, Input::<T>::shaped("lse", &lse, &dims.lse_shape())?);
        let (q, k, v) = (Input::<T>::new("q", &q)?, Input::<T>::new("k", &k)?, Input::<T>::new("v", &v)?);
        let table = Input::<T>::new("table", &table)?;
        let inputs = Inputs { q: q.slice(), k: k.slice(), v: v.slice(), table: table.slice() };
        let grads = Gradients { q: dq.slice(), k: dk.slice(), v: dv.slice(), table: dtable.slice() };
        let (dy, lse) = (dy.slice(), lse.slice());
        call(py, |exec| local_relative_attention::backward(dy, inputs, lse, grads, &dims, exec))?;
        Ok((dq.array(), dk.array(), dv.array(), dtable.array()))
    })
}
