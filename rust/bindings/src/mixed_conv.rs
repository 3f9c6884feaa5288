//! mixed_conv: arrays in, arrays out.

use numpy::PyUntypedArrayMethods;
use pyhybrid_kernels::mixed_conv::{self, Dims};
use pyo3::prelude::*;

use crate::arrays::{Array, Input, Int, Output, call, checked, with_dtype};

fn dims(x: &Array, weight: &Array, bias: Option<&Array>, kernel_sizes: &[Int<usize>]) -> PyResult<Dims> {
    let sizes: Vec<usize> = kernel_sizes.iter().map(|k| k.0).collect();
    checked(Dims::new(x.shape(), weight.shape(), bias.map(|bias| bias.shape()), &sizes))
}

#[pyfunction]
#[pyo3(signature = (x, weight, bias, kernel_sizes))]
pub fn mixed_conv_forward<'py>(
    py: Python<'py>,
    x: Array<'py>,
    weight: Array<'py>,
    bias: Option<Array<'py>>,
    kernel_sizes: Vec<Int<usize>>,
) -> PyResult<(Array<'py>,)> {
    let dims = dims(&x, &weight, bias.as_ref(), &kernel_sizes)?;
    with_dtype!(T of x => {
        let mut y = Output::<T>::like(&x)?;
        let (x, weight) = (Input::<T>::new("x", &x)?, Input::<T>::new("weight", &weight)?);
        let bias = Input::<T>::optional("bias", bias.as_ref())?;
        let (x, weight, bias, y_slice) = (x.slice(), weight.slice(), bias.as_ref().map(Input::slice), y.slice());
        call(py, |exec| mixed_conv::forward(x, weight, bias, y_slice, &dims, exec))?;
        Ok((y.array(),))
    })
}

#[pyfunction]
#[pyo3(signature = (dy, x, weight, bias, kernel_sizes))]
pub fn mixed_conv_backward<'py>(
    py: Python<'py>,
    dy: Array<'py>,
    x: Array<'py>,
    weight: Array<'py>,
    bias: Option<Array<'py>>,
    kernel_sizes: Vec<Int<usize>>,
) -> PyResult<(Array<'py>, Array<'py>, Option<Array<'py>>)> {
    let dims = dims(&x, &weight, bias.as_ref(), &kernel_sizes)?;
    with_dtype!(T of dy => {
        let dy = Input::<T>::shaped("dy", &dy, x.shape())?;
        let (mut dx, mut dweight) = (Output::<T>::like(&x)?, Output::<T>::like(&weight)?);
        let mut dbias = bias.as_ref().map(Output::<T>::like).transpose()?;
        Input::<T>::optional("bias", bias.as_ref())?;
        let (x, weight) = (Input::<T>::new("x", &x)?, Input::<T>::new("weight", &weight)?);
        let (dy, x, weight) = (dy.slice(), x.slice(), weight.slice());
        let (dx_slice, dweight_slice, dbias_slice) = (dx.slice(), dweight.slice(), dbias.as_mut().map(Output::slice));
        call(py, |exec| mixed_conv::backward(dy, x, weight, dx_slice, dweight_slice, dbias_slice, &dims, exec))?;
        Ok((dx.array(), dweight.array(), dbias.map(Output::array)))
    })
}
