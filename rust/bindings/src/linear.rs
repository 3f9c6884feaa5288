//! linear: arrays in, arrays out.

use numpy::PyUntypedArrayMethods;
use pyhybrid_kernels::linear::{self, Dims};
use pyo3::prelude::*;

use crate::arrays::{Array, Input, Output, call, checked, with_dtype};

#[pyfunction]
#[pyo3(signature = (x, weight, bias, channels_first))]
pub fn linear_forward<'py>(
    py: Python<'py>,
    x: Array<'py>,
    weight: Array<'py>,
    bias: Option<Array<'py>>,
    channels_first: bool,
) -> PyResult<(Array<'py>,)> {
    let dims = checked(Dims::new(x.shape(), weight.shape(), bias.as_ref().map(|bias| bias.shape()), channels_first))?;
    let mut shape = x.shape().to_vec();
    dims.output(&mut shape);
    with_dtype!(T of x => {
        let (x, weight) = (Input::<T>::new("x", &x)?, Input::<T>::new("weight", &weight)?);
        let bias = Input::<T>::optional("bias", bias.as_ref())?;
        let mut y = Output::<T>::empty(py, &shape)?;
        let (x, weight, bias, y_slice) = (x.slice(), weight.slice(), bias.as_ref().map(Input::slice), y.slice());
        call(py, |exec| linear::forward(x, weight, bias, y_slice, &dims, exec))?;
        Ok((y.array(),))
    })
}

#[pyfunction]
#[pyo3(signature = (dy, x, weight, bias, channels_first))]
pub fn linear_backward<'py>(
    py: Python<'py>,
    dy: Array<'py>,
    x: Array<'py>,
    weight: Array<'py>,
    bias: Option<Array<'py>>,
    channels_first: bool,
) -> PyResult<(Array<'py>, Array<'py>, Option<Array<'py>>)> {
    let dims = checked(Dims::new(x.shape(), weight.shape(), bias.as_ref().map(|bias| bias.shape()), channels_first))?;
    with_dtype!(T of x => {
        let (mut dx, mut dweight) = (Output::<T>::like(&x)?, Output::<T>::like(&weight)?);
        let mut dbias = bias.as_ref().map(Output::<T>::like).transpose()?;
        let (dy, x, weight) = (Input::<T>::new("dy", &dy)?, Input::<T>::new("x", &x)?, Input::<T>::new("weight", &weight)?);
        let (dy, x, weight) = (dy.slice(), x.slice(), weight.slice());
        let (dx_slice, dweight_slice, dbias_slice) = (dx.slice(), dweight.slice(), dbias.as_mut().map(Output::slice));
        call(py, |exec| linear::backward(dy, x, weight, dx_slice, dweight_slice, dbias_slice, &dims, exec))?;
        Ok((dx.array(), dweight.array(), dbias.map(Output::array)))
    })
}
