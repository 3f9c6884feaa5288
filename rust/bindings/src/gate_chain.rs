//! gate_chain: arrays in, arrays out.

use numpy::PyUntypedArrayMethods;
use pyhybrid_kernels::gate_chain::{self, Arguments, Dims, Gradients};
use pyhybrid_kernels::real::Real;
use pyo3::prelude::*;

use crate::arrays::{Array, Input, Int, Output, call, checked, with_dtype};

#[pyfunction]
#[pyo3(signature = (p0, filtered, weight, bias, order, scale))]
pub fn gate_chain_forward<'py>(
    py: Python<'py>,
    p0: Array<'py>,
    filtered: Array<'py>,
    weight: Option<Array<'py>>,
    bias: Option<Array<'py>>,
    order: Int<usize>,
    scale: f64,
) -> PyResult<[Array<'py>; 2]> {
    let dims = dims(&p0, &filtered, weight.as_ref(), bias.as_ref(), order)?;
    with_dtype!(T of p0 => {
        let (mut y, mut u) = (Output::<T>::empty(py, &dims.output())?, Output::<T>::empty(py, &dims.saved())?);
        let (p0, filtered) = (Input::<T>::new("p0", &p0)?, Input::<T>::new("filtered", &filtered)?);
        let weight = Input::<T>::optional("weight", weight.as_ref())?;
        let bias = Input::<T>::optional("bias", bias.as_ref())?;
        let (weight, bias) = (weight.as_ref().map(Input::slice), bias.as_ref().map(Input::slice));
        let arguments = Arguments { p0: p0.slice(), filtered: filtered.slice(), weight, bias, scale: T::from_f64(scale) };
        let (y_slice, u_slice) = (y.slice(), u.slice());
        call(py, |exec| gate_chain::forward(&arguments, y_slice, u_slice, &dims, exec))?;
        Ok([y.array(), u.array()])
    })
}

#[pyfunction]
#[pyo3(signature = (dy, p0, filtered, weight, bias, order, scale, u))]
#[allow(clippy::too_many_arguments)] // dy and the operator's
pub fn gate_chain_backward<'py>(
    dy: Array<'py>,
    p0: Array<'py>,
    filtered: Array<'py>,
    weight: Option<Array<'py>>,
    bias: Option<Array<'py>>,
    order: Int<usize>,
    scale: f64,
    u: Array<'py>,
) -> PyResult<(Array<'py>, Array<'py>, Option<Array<'py>>, Option<Array<'py>>)> {
    let (py, dims) = (dy.py(), dims(&p0, &filtered, weight.as_ref(), bias.as_ref(), order)?);
    with_dtype!(T of dy => {
        let (dy, u) = (Input::<T>::shaped("dy", &dy, &dims.output())?, Input::<T>::shaped("u", &u, &dims.saved())?);
        let (mut dp0, mut df) = (Output::<T>::like(&p0)?, Output::<T>::like(&filtered)?);
        let mut dweight = weight.as_ref().map(Output::<T>::like).transpose()?;
        let mut dbias = bias.as_ref().map(Output::<T>::like).transpose()?;
        let (p0, filtered) = (Input::<T>::new("p0", &p0)?, Input::<T>::new("filtered", &filtered)?);
        let weight = Input::<T>::optional("weight", weight.as_ref())?;
        let bias = Input::<T>::optional("bias", bias.as_ref())?;
        let (weight, bias) = (weight.as_ref().map(Input::slice), bias.as_ref().map(Input::slice));
        let arguments = Arguments { p0: p0.slice(), filtered: filtered.slice(), weight, bias, scale: T::from_f64(scale) };
        let gradients = Gradients {
            p0: dp0.slice(),
            filtered: df.slice(),
            weight: dweight.as_mut().map(Output::slice),
            bias: dbias.as_mut().map(Output::slice),
        };
        let (dy, u) = (dy.slice(), u.slice());
        call(py, |exec| gate_chain::backward(dy, &arguments, u, gradients, &dims, exec))?;
        Ok((dp0.array(), df.array(), dweight.map(Output::array), dbias.map(Output::array)))
    })
}

fn dims(
    p0: &Array<'_>,
    filtered: &Array<'_>,
    weight: Option<&Array<'_>>,
    bias: Option<&Array<'_>>,
    order: Int<usize>,
) -> PyResult<Dims> {
    let (weight, bias) = (weight.map(|x| x.shape()), bias.map(|x| x.shape()));
    checked(Dims::new(p0.shape(), filtered.shape(), weight, bias, order.0))
}
