//! conv_decomposition: arrays in, arrays out.

use numpy::PyUntypedArrayMethods;
use pyhybrid_kernels::conv_decomposition::{self, Dims};
use pyo3::prelude::*;

use crate::arrays::{Array, Input, Output, Pair, call, checked, with_dtype};

#[pyfunction]
pub fn conv_decomposition_forward<'py>(
    py: Python<'py>,
    x: Array<'py>,
    weight: Array<'py>,
    bias: Option<Array<'py>>,
    stride: Pair<usize>,
) -> PyResult<(Array<'py>,)> {
    let d = checked(Dims::new(x.shape(), weight.shape(), bias.as_ref().map(|b| b.shape()), stride.into()))?;
    with_dtype!(T of x => {
        let (x, weight) = (Input::<T>::new("x", &x)?, Input::<T>::new("weight", &weight)?);
        let (bias, mut y) = (Input::<T>::optional("bias", bias.as_ref())?, Output::<T>::empty(py, &d.output())?);
        let (x, weight, bias, y_slice) = (x.slice(), weight.slice(), bias.as_ref().map(Input::slice), y.slice());
        call(py, |exec| conv_decomposition::forward(x, weight, bias, y_slice, &d, exec))?;
        Ok((y.array(),))
    })
}

#[pyfunction]
pub fn conv_decomposition_backward<'py>(
    py: Python<'py>,
    dy: Array<'py>,
    x: Array<'py>,
    weight: Array<'py>,
    bias: Option<Array<'py>>,
    stride: Pair<usize>,
) -> PyResult<(Array<'py>, Array<'py>, Option<Array<'py>>)> {
    let d = checked(Dims::new(x.shape(), weight.shape(), bias.as_ref().map(|b| b.shape()), stride.into()))?;
    with_dtype!(T of dy => {
        let (mut dx, mut dweight) = (Output::<T>::like(&x)?, Output::<T>::like(&weight)?);
        let mut dbias = bias.as_ref().map(Output::<T>::like).transpose()?;
        let dy = Input::<T>::shaped("dy", &dy, &d.output())?;
        let (x, weight) = (Input::<T>::new("x", &x)?, Input::<T>::new("weight", &weight)?);
        let (dy, x, weight) = (dy.slice(), x.slice(), weight.slice());
        let outputs = (dx.slice(), dweight.slice(), dbias.as_mut().map(Output::slice));
        call(py, |exec| conv_decomposition::backward(dy, x, weight, outputs.0, outputs.1, outputs.2, &d, exec))?;
        Ok((dx.array(), dweight.array(), dbias.map(Output::array)))
    })
}
