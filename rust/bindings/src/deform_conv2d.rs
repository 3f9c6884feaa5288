//! deform_conv2d: arrays in, arrays out.

use numpy::PyUntypedArrayMethods;
use pyhybrid_kernels::deform_conv2d::{self, Arguments, Dims, Settings};
use pyo3::prelude::*;

use crate::arrays::{Array, Input, Int, Output, Pair, call, checked, with_dtype};

#[pyfunction]
#[pyo3(signature = (x, offset, weight, mask, bias, stride, padding, dilation, groups, offset_groups, kink))]
#[allow(clippy::too_many_arguments)] // those of the operator
pub fn deform_conv2d_forward<'py>(
    py: Python<'py>,
    x: Array<'py>,
    offset: Array<'py>,
    weight: Array<'py>,
    mask: Option<Array<'py>>,
    bias: Option<Array<'py>>,
    stride: Pair<usize>,
    padding: Pair<usize>,
    dilation: Pair<usize>,
    groups: Int<usize>,
    offset_groups: Int<usize>,
    kink: &str,
) -> PyResult<(Array<'py>,)> {
    let arrays = Arguments { x, offset, weight, mask, bias };
    let (stride, padding, dilation) = (stride.into(), padding.into(), dilation.into());
    let (groups, offset_groups) = (groups.0, offset_groups.0);
    let d = dims(&arrays, &Settings { stride, padding, dilation, groups, offset_groups, kink })?;
    let x = &arrays.x;
    with_dtype!(T of x => {
        let (inputs, mut y) = (inputs::<T>(&arrays)?, Output::<T>::empty(py, &d.output())?);
        let (arguments, y_slice) = (slices(&inputs), y.slice());
        call(py, |exec| deform_conv2d::forward(&arguments, y_slice, &d, exec))?;
        Ok((y.array(),))
    })
}

type Gradients<'py> = (Array<'py>, Array<'py>, Array<'py>, Option<Array<'py>>, Option<Array<'py>>);

#[pyfunction]
#[pyo3(signature = (dy, x, offset, weight, mask, bias, stride, padding, dilation, groups, offset_groups, kink))]
#[allow(clippy::too_many_arguments)] // dy and the operator's
pub fn deform_conv2d_backward<'py>(
    py: Python<'py>,
    dy: Array<'py>,
    x: Array<'py>,
    offset: Array<'py>,
    weight: Array<'py>,
    mask: Option<Array<'py>>,
    bias: Option<Array<'py>>,
    stride: Pair<usize>,
    padding: Pair<usize>,
    dilation: Pair<usize>,
    groups: Int<usize>,
    offset_groups: Int<usize>,
    kink: &str,
) -> PyResult<Gradients<'py>> {
    let arrays = Arguments { x, offset, weight, mask, bias };
    let (stride, padding, dilation) = (stride.into(), padding.into(), dilation.into());
    let (groups, offset_groups) = (groups.0, offset_groups.0);
    let d = dims(&arrays, &Settings { stride, padding, dilation, groups, offset_groups, kink })?;
    with_dtype!(T of dy => {
        let (dy, inputs) = (Input::<T>::shaped("dy", &dy, &d.output())?, inputs::<T>(&arrays)?);
        let like = |x: &Array<'py>| Output::<T>::like(x);
        let (mut dx, mut doffset, mut dweight) = (like(&arrays.x)?, like(&arrays.offset)?, like(&arrays.weight)?);
        let mut dmask = arrays.mask.as_ref().map(like).transpose()?;
        let mut dbias = arrays.bias.as_ref().map(like).transpose()?;
        let gradients = Arguments {
            x: dx.slice(),
            offset: doffset.slice(),
            weight: dweight.slice(),
            mask: dmask.as_mut().map(Output::slice),
            bias: dbias.as_mut().map(Output::slice),
        };
        let (dy, arguments) = (dy.slice(), slices(&inputs));
        call(py, |exec| deform_conv2d::backward(dy, &arguments, gradients, &d, exec))?;
        Ok((dx.array(), doffset.array(), dweight.array(), dmask.map(Output::array), dbias.map(Output::array)))
    })
}

fn dims(arrays: &Arguments<Array<'_>>, settings: &Settings) -> PyResult<Dims> {
    let shapes = Arguments {
        x: arrays.x.shape(),
        offset: arrays.offset.shape(),
        weight: arrays.weight.shape(),
        mask: arrays.mask.as_ref().map(|x| x.shape()),
        bias: arrays.bias.as_ref().map(|x| x.shape()),
    };
    checked(Dims::new(&shapes, settings))
}

fn inputs<'py, T: numpy::Element>(arrays: &Arguments<Array<'py>>) -> PyResult<Arguments<Input<'py, T>>> {
    Ok(Arguments {
        x: Input::new("x", &arrays.x)?,
        offset: Input::new("offset", &arrays.offset)?,
        weight: Input::new("weight", &arrays.weight)?,
        mask: Input::optional("mask", arrays.mask.as_ref())?,
        bias: Input::optional("bias", arrays.bias.as_ref())?,
    })
}

fn slices<'a, T: numpy::Element>(inputs: &'a Arguments<Input<'_, T>>) -> Arguments<&'a [T]> {
    Arguments {
        x: inputs.x.slice(),
        offset: inputs.offset.slice(),
        weight: inputs.weight.slice(),
        mask: inputs.mask.as_ref().map(Input::slice),
        bias: inputs.bias.as_ref().map(Input::slice),
    }
}
