//! shift_conv: arrays in, arrays out.

use numpy::PyUntypedArrayMethods;
use pyhybrid_kernels::shift_conv::{self, Dims};
use pyo3::prelude::*;

use crate::arrays::{Array, Input, Int, Output, Pair, call, checked, with_dtype};

#[pyfunction]
pub fn shift_conv_forward<'py>(
    py: Python<'py>,
    maps: Array<'py>,
    weight: Option<Array<'py>>,
    bias: Option<Array<'py>>,
    kernel_size: Int<usize>,
    stride: Pair<usize>,
) -> PyResult<(Array<'py>,)> {
    let shapes = (weight.as_ref().map(|w| w.shape()), bias.as_ref().map(|b| b.shape()));
    let d = checked(Dims::new(maps.shape(), shapes.0, shapes.1, kernel_size.0, stride.into()))?;
    with_dtype!(T of maps => {
        let (maps, weight) = (Input::<T>::new("maps", &maps)?, Input::<T>::optional("weight", weight.as_ref())?);
        let (bias, mut y) = (Input::<T>::optional("bias", bias.as_ref())?, Output::<T>::empty(py, &d.output())?);
        let (maps, weight, bias) = (maps.slice(), weight.as_ref().map(Input::slice), bias.as_ref().map(Input::slice));
        let y_slice = y.slice();
        call(py, |exec| shift_conv::forward(maps, weight, bias, y_slice, &d, exec))?;
        Ok((y.array(),))
    })
}

#[pyfunction]
pub fn shift_conv_backward<'py>(
    py: Python<'py>,
    dy: Array<'py>,
    maps: Array<'py>,
    weight: Option<Array<'py>>,
    bias: Option<Array<'py>>,
    kernel_size: Int<usize>,
    stride: Pair<usize>,
) -> PyResult<(Array<'py>, Option<Array<'py>>, Option<Array<'py>>)> {
    let shapes = (weight.as_ref().map(|w| w.shape()), bias.as_ref().map(|b| b.shape()));
    let d = checked(Dims::new(maps.shape(), shapes.0, shapes.1, kernel_size.0, stride.into()))?;
    with_dtype!(T of dy => {
        let mut dmaps = Output::<T>::like(&maps)?;
        let mut dweight = weight.as_ref().map(Output::<T>::like).transpose()?;
        let mut dbias = bias.as_ref().map(Output::<T>::like).transpose()?;
        let (dy, maps) = (Input::<T>::shaped("dy", &dy, &d.output())?, Input::<T>::new("maps", &maps)?);
        let weight = Input::<T>::optional("weight", weight.as_ref())?;
        let (dy, maps, weight) = (dy.slice(), maps.slice(), weight.as_ref().map(Input::slice));
        let outputs = (dmaps.slice(), dweight.as_mut().map(Output::slice), dbias.as_mut().map(Output::slice));
        call(py, |exec| shift_conv::backward(dy, maps, weight, outputs.0, outputs.1, outputs.2, &d, exec))?;
        Ok((dmaps.array(), dweight.map(Output::array), dbias.map(Output::array)))
    })
}
