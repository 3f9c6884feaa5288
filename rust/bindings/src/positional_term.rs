//! positional_term: arrays in, arrays out.

use numpy::PyUntypedArrayMethods;
use pyhybrid_kernels::positional_term::{self, Dims};
use pyo3::prelude::*;

use crate::arrays::{Array, Input, Output, Pair, call, checked, with_dtype};

#[pyfunction]
pub fn positional_term_forward<'py>(
    py: Python<'py>,
    weight: Array<'py>,
    bias: Option<Array<'py>>,
    size: Pair<usize>,
) -> PyResult<(Array<'py>,)> {
    let d = checked(Dims::new(weight.shape(), bias.as_ref().map(|bias| bias.shape()), size.into()))?;
    with_dtype!(T of weight => {
        let (weight, bias) = (Input::<T>::new("weight", &weight)?, Input::<T>::optional("bias", bias.as_ref())?);
        let mut pe = Output::<T>::empty(py, &[d.channels, d.height, d.width])?;
        let (weight, bias, pe_slice) = (weight.slice(), bias.as_ref().map(Input::slice), pe.slice());
        call(py, |exec| positional_term::forward(weight, bias, pe_slice, &d, exec))?;
        Ok((pe.array(),))
    })
}

#[pyfunction]
pub fn positional_term_backward<'py>(
    py: Python<'py>,
    dpe: Array<'py>,
    weight: Array<'py>,
    bias: Option<Array<'py>>,
    size: Pair<usize>,
) -> PyResult<(Array<'py>, Option<Array<'py>>)> {
    let d = checked(Dims::new(weight.shape(), bias.as_ref().map(|bias| bias.shape()), size.into()))?;
    with_dtype!(T of dpe => {
        let dpe = Input::<T>::shaped("dpe", &dpe, &[d.channels, d.height, d.width])?;
        let mut dweight = Output::<T>::like(&weight)?;
        let mut dbias = bias.as_ref().map(Output::<T>::like).transpose()?;
        let (dpe, dweight_slice, dbias_slice) = (dpe.slice(), dweight.slice(), dbias.as_mut().map(Output::slice));
        call(py, |exec| positional_term::backward(dpe, dweight_slice, dbias_slice, &d, exec))?;
        Ok((dweight.array(), dbias.map(Output::array)))
    })
}
