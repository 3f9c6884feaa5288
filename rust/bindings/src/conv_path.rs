//! conv_path: arrays in, arrays out.

use numpy::PyUntypedArrayMethods;
use pyhybrid_kernels::conv_path::{self, Arguments, ChannelOrder, Dims};
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use crate::arrays::{Array, Input, Int, Output, Pair, call, checked, with_dtype};

#[pyfunction]
#[allow(clippy::too_many_arguments)] // those of the operator
pub fn conv_path_forward<'py>(
    py: Python<'py>,
    q: Array<'py>,
    k: Array<'py>,
    v: Array<'py>,
    fc_weight: Array<'py>,
    dep_conv_weight: Array<'py>,
    fc_bias: Option<Array<'py>>,
    dep_conv_bias: Option<Array<'py>>,
    heads: Int<usize>,
    stride: Pair<usize>,
    channel_order: &str,
) -> PyResult<(Array<'py>,)> {
    let arrays = Arguments { q, k, v, fc_weight, dep_conv_weight, fc_bias, dep_conv_bias };
    let d = checked(dims(&arrays, heads, stride, channel_order))?;
    let q = &arrays.q;
    with_dtype!(T of q => {
        let (inputs, mut y) = (inputs::<T>(&arrays)?, Output::<T>::empty(py, &d.output())?);
        let (arguments, y_slice) = (slices(&inputs), y.slice());
        call(py, |exec| conv_path::forward(&arguments, y_slice, &d, exec))?;
        Ok((y.array(),))
    })
}

#[pyfunction]
#[allow(clippy::too_many_arguments)] // dy and the operator's
pub fn conv_path_backward<'py>(
    py: Python<'py>,
    dy: Array<'py>,
    q: Array<'py>,
    k: Array<'py>,
    v: Array<'py>,
    fc_weight: Array<'py>,
    dep_conv_weight: Array<'py>,
    fc_bias: Option<Array<'py>>,
    dep_conv_bias: Option<Array<'py>>,
    heads: Int<usize>,
    stride: Pair<usize>,
    channel_order: &str,
) -> PyResult<Bound<'py, PyTuple>> {
    let arrays = Arguments { q, k, v, fc_weight, dep_conv_weight, fc_bias, dep_conv_bias };
    let d = checked(dims(&arrays, heads, stride, channel_order))?;
    with_dtype!(T of dy => {
        let (dy, inputs) = (Input::<T>::shaped("dy", &dy, &d.output())?, inputs::<T>(&arrays)?);
        let like = |x: &Array<'py>| Output::<T>::like(x);
        let mut outputs = Arguments {
            q: like(&arrays.q)?,
            k: like(&arrays.k)?,
            v: like(&arrays.v)?,
            fc_weight: like(&arrays.fc_weight)?,
            dep_conv_weight: like(&arrays.dep_conv_weight)?,
            fc_bias: arrays.fc_bias.as_ref().map(like).transpose()?,
            dep_conv_bias: arrays.dep_conv_bias.as_ref().map(like).transpose()?,
        };
        let gradients = Arguments {
            q: outputs.q.slice(),
            k: outputs.k.slice(),
            v: outputs.v.slice(),
            fc_weight: outputs.fc_weight.slice(),
            dep_conv_weight: outputs.dep_conv_weight.slice(),
            fc_bias: outputs.fc_bias.as_mut().map(Output::slice),
            dep_conv_bias: outputs.dep_conv_bias.as_mut().map(Output::slice),
        };
        let (dy, arguments) = (dy.slice(), slices(&inputs));
        call(py, |exec| conv_path::backward(dy, &arguments, gradients, &d, exec))?;
        let Arguments { q, k, v, fc_weight, dep_conv_weight, fc_bias, dep_conv_bias } = outputs;
        let all = [Some(q), Some(k), Some(v), Some(fc_weight), Some(dep_conv_weight), fc_bias, dep_conv_bias];
        PyTuple::new(py, all.map(|gradient| gradient.map(Output::array)))
    })
}

fn dims(
    arrays: &Arguments<Array<'_>>,
    heads: Int<usize>,
    stride: Pair<usize>,
    channel_order: &str,
) -> Result<Dims, pyhybrid_kernels::error::Error> {
    let shapes = Arguments {
        q: arrays.q.shape(),
        k: arrays.k.shape(),
        v: arrays.v.shape(),
        fc_weight: arrays.fc_weight.shape(),
        dep_conv_weight: arrays.dep_conv_weight.shape(),
        fc_bias: arrays.fc_bias.as_ref().map(|x| x.shape()),
        dep_conv_bias: arrays.dep_conv_bias.as_ref().map(|x| x.shape()),
    };
    Dims::new(&shapes, heads.0, stride.into(), ChannelOrder::from_name(channel_order)?)
}

fn inputs<'py, T: numpy::Element>(arrays: &Arguments<Array<'py>>) -> PyResult<Arguments<Input<'py, T>>> {
    Ok(Arguments {
        q: Input::new("q", &arrays.q)?,
        k: Input::new("k", &arrays.k)?,
        v: Input::new("v", &arrays.v)?,
        fc_weight: Input::new("fc_weight", &arrays.fc_weight)?,
        dep_conv_weight: Input::new("dep_conv_weight", &arrays.dep_conv_weight)?,
        fc_bias: Input::optional("fc_bias", arrays.fc_bias.as_ref())?,
        dep_conv_bias: Input::optional("dep_conv_bias", arrays.dep_conv_bias.as_ref())?,
    })
}

fn slices<'a, T: numpy::Element>(inputs: &'a Arguments<Input<'_, T>>) -> Arguments<&'a [T]> {
    Arguments {
        q: inputs.q.slice(),
        k: inputs.k.slice(),
        v: inputs.v.slice(),
        fc_weight: inputs.fc_weight.slice(),
        dep_conv_weight: inputs.dep_conv_weight.slice(),
        fc_bias: inputs.fc_bias.as_ref().map(Input::slice),
        dep_conv_bias: inputs.dep_conv_bias.as_ref().map(Input::slice),
    }
}
