//! layer_norm: arrays in, arrays out.

use numpy::PyUntypedArrayMethods;
use pyhybrid_kernels::layer_norm::{self, Dims, Saved};
use pyo3::prelude::*;

use crate::arrays::{Array, Input, Int, Output, call, checked, with_dtype};

fn dims(x: &Array, weight: Option<&Array>, bias: Option<&Array>, axis: Int<isize>, eps: f64) -> PyResult<Dims> {
    checked(Dims::new(x.shape(), weight.map(|w| w.shape()), bias.map(|b| b.shape()), axis.0, eps))
}

/// Shape of m and r; the axis was checked.
fn statistics_shape(x: &Array, axis: Int<isize>) -> Vec<usize> {
    let mut shape = x.shape().to_vec();
    let axis = if axis.0 < 0 { shape.len().wrapping_add_signed(axis.0) } else { axis.0.unsigned_abs() };
    if let Some(n) = shape.get_mut(axis) {
        *n = 1;
    }
    shape
}

#[pyfunction]
#[pyo3(signature = (x, weight, bias, axis, eps))]
pub fn layer_norm_forward<'py>(
    py: Python<'py>,
    x: Array<'py>,
    weight: Option<Array<'py>>,
    bias: Option<Array<'py>>,
    axis: Int<isize>,
    eps: f64,
) -> PyResult<[Array<'py>; 3]> {
    let dims = dims(&x, weight.as_ref(), bias.as_ref(), axis, eps)?;
    let shape = statistics_shape(&x, axis);
    with_dtype!(T of x => {
        let (mut y, mut m, mut r) = (Output::<T>::like(&x)?, Output::<T>::empty(py, &shape)?, Output::<T>::empty(py, &shape)?);
        let x = Input::<T>::new("x", &x)?;
        let (weight, bias) = (Input::<T>::optional("weight", weight.as_ref())?, Input::<T>::optional("bias", bias.as_ref())?);
        let (x, weight, bias) = (x.slice(), weight.as_ref().map(Input::slice), bias.as_ref().map(Input::slice));
        let (y_slice, m_slice, r_slice) = (y.slice(), m.slice(), r.slice());
        call(py, |exec| layer_norm::forward(x, weight, bias, y_slice, m_slice, r_slice, &dims, exec))?;
        Ok([y.array(), m.array(), r.array()])
    })
}

type Gradients<'py> = (Array<'py>, Option<Array<'py>>, Option<Array<'py>>);

#[pyfunction]
#[pyo3(signature = (dy, x, weight, bias, axis, eps, m, r))]
#[allow(clippy::too_many_arguments)]
pub fn layer_norm_backward<'py>(
    py: Python<'py>,
    dy: Array<'py>,
    x: Array<'py>,
    weight: Option<Array<'py>>,
    bias: Option<Array<'py>>,
    axis: Int<isize>,
    eps: f64,
    m: Array<'py>,
    r: Array<'py>,
) -> PyResult<Gradients<'py>> {
    let dims = dims(&x, weight.as_ref(), bias.as_ref(), axis, eps)?;
    let shape = statistics_shape(&x, axis);
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
        call(py, |exec| layer_norm::backward(saved, weight, dx_slice, dweight_slice, dbias_slice, &dims, exec))?;
        Ok((dx.array(), dweight.map(Output::array), dbias.map(Output::array)))
    })
}
