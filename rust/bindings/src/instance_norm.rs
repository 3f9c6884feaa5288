//! instance_norm: arrays in, arrays out.

use numpy::PyUntypedArrayMethods;
use pyhybrid_kernels::instance_norm::{self, Dims, Saved};
use pyo3::prelude::*;

use crate::arrays::{Array, Input, Output, call, checked, with_dtype};

fn dims(x: &Array, weight: Option<&Array>, bias: Option<&Array>, eps: f64) -> PyResult<Dims> {
    checked(Dims::new(x.shape(), weight.map(|w| w.shape()), bias.map(|b| b.shape()), eps))
}

#[pyfunction]
#[pyo3(signature = (x, weight, bias, eps))]
pub fn instance_norm_forward<'py>(
    py: Python<'py>,
    x: Array<'py>,
    weight: Option<Array<'py>>,
    bias: Option<Array<'py>>,
    eps: f64,
) -> PyResult<[Array<'py>; 3]> {
    let dims = dims(&x, weight.as_ref(), bias.as_ref(), eps)?;
    let shape = dims.statistics();
    with_dtype!(T of x => {
        let (mut y, mut m, mut r) = (Output::<T>::like(&x)?, Output::<T>::empty(py, &shape)?, Output::<T>::empty(py, &shape)?);
        let x = Input::<T>::new("x", &x)?;
        let (weight, bias) = (Input::<T>::optional("weight", weight.as_ref())?, Input::<T>::optional("bias", bias.as_ref())?);
        let (x, weight, bias) = (x.slice(), weight.as_ref().map(Input::slice), bias.as_ref().map(Input::slice));
        let (y_slice, m_slice, r_slice) = (y.slice(), m.slice(), r.slice());
        call(py, |exec| instance_norm::forward(x, weight, bias, y_slice, m_slice, r_slice, &dims, exec))?;
        Ok([y.array(), m.array(), r.array()])
    })
}

type Gradients<'py> = (Array<'py>, Option<Array<'py>>, Option<Array<'py>>);

#[pyfunction]
#[pyo3(signature = (dy, x, weight, bias, eps, m, r))]
#[allow(clippy::too_many_arguments)]
pub fn instance_norm_backward<'py>(
    py: Python<'py>,
    dy: Array<'py>,
    x: Array<'py>,
    weight: Option<Array<'py>>,
    bias: Option<Array<'py>>,
    eps: f64,
    m: Array<'py>,
    r: Array<'py>,
) -> PyResult<Gradients<'py>> {
    let dims = dims(&x, weight.as_ref(), bias.as_ref(), eps)?;
    let shape = dims.statistics();
    with_dtype!(T of x => {
        let mut dx = Output::<T>::like(&x)?;
        let mut dweight = weight.as_ref().map(Output::<T>::like).transpose()?;
        let mut dbias = bias.as_ref().map(Output::<T>::like).transpose()?;
        let (dy, m, r) = (
            Input::<T>::shaped("dy", &dy, x.shape())?, Input::<T>::shaped("m", &m, &shape)?, Input::<T>::shaped("r", &r, &shape)?,
        );
        let (x, weight) = (Input::<T>::new("x", &x)?, Input::<T>::optional("weight", weight.as_ref())?);
        Input::<T>::optional("bias", bias.as_ref())?;
        let saved = Saved { dy: dy.slice(), x: x.slice(), m: m.slice(), r: r.slice() };
        let (weight, dx_slice) = (weight.as_ref().map(Input::slice), dx.slice());
        let (dweight_slice, dbias_slice) = (dweight.as_mut().map(Output::slice), dbias.as_mut().map(Output::slice));
        call(py, |exec| instance_norm::backward(saved, weight, dx_slice, dweight_slice, dbias_slice, &dims, exec))?;
        Ok((dx.array(), dweight.map(Output::array), dbias.map(Output::array)))
    })
}
