//! depthwise_separable_conv: arrays in, arrays out.

use numpy::PyUntypedArrayMethods;
use pyhybrid_kernels::depthwise_separable_conv::{self, Arguments, Dims};
use pyo3::prelude::*;

use crate::arrays::{Array, Input, Output, Pair, call, checked, with_dtype};

#[pyfunction]
#[pyo3(signature = (x, depthwise_weight, pointwise_weight, depthwise_bias, pointwise_bias, padding))]
pub fn depthwise_separable_conv_forward<'py>(
    py: Python<'py>,
    x: Array<'py>,
    depthwise_weight: Array<'py>,
    pointwise_weight: Array<'py>,
    depthwise_bias: Option<Array<'py>>,
    pointwise_bias: Option<Array<'py>>,
    padding: Option<Pair<usize>>,
) -> PyResult<[Array<'py>; 2]> {
    let arrays = Arguments { x, depthwise_weight, pointwise_weight, depthwise_bias, pointwise_bias };
    let d = dims(&arrays, padding)?;
    let x = &arrays.x;
    with_dtype!(T of x => {
        let (inputs, mut y) = (inputs::<T>(&arrays)?, Output::<T>::empty(py, &d.output())?);
        let mut u = Output::<T>::empty(py, &d.between())?;
        let (arguments, y_slice, u_slice) = (slices(&inputs), y.slice(), u.slice());
        call(py, |exec| depthwise_separable_conv::forward(&arguments, y_slice, u_slice, &d, exec))?;
        Ok([y.array(), u.array()])
    })
}

type Gradients<'py> = (Array<'py>, Array<'py>, Array<'py>, Option<Array<'py>>, Option<Array<'py>>);

#[pyfunction]
#[pyo3(signature = (dy, x, depthwise_weight, pointwise_weight, depthwise_bias, pointwise_bias, padding, u))]
#[allow(clippy::too_many_arguments)] // dy and the operator's
pub fn depthwise_separable_conv_backward<'py>(
    dy: Array<'py>,
    x: Array<'py>,
    depthwise_weight: Array<'py>,
    pointwise_weight: Array<'py>,
    depthwise_bias: Option<Array<'py>>,
    pointwise_bias: Option<Array<'py>>,
    padding: Option<Pair<usize>>,
    u: Array<'py>,
) -> PyResult<Gradients<'py>> {
    let py = dy.py();
    let arrays = Arguments { x, depthwise_weight, pointwise_weight, depthwise_bias, pointwise_bias };
    let d = dims(&arrays, padding)?;
    with_dtype!(T of dy => {
        let (dy, inputs) = (Input::<T>::shaped("dy", &dy, &d.output())?, inputs::<T>(&arrays)?);
        let u = Input::<T>::shaped("u", &u, &d.between())?;
        let like = |x: &Array<'py>| Output::<T>::like(x);
        let (mut dx, mut dd, mut dp) = (like(&arrays.x)?, like(&arrays.depthwise_weight)?, like(&arrays.pointwise_weight)?);
        let mut ddb = arrays.depthwise_bias.as_ref().map(like).transpose()?;
        let mut dpb = arrays.pointwise_bias.as_ref().map(like).transpose()?;
        let gradients = Arguments {
            x: dx.slice(),
            depthwise_weight: dd.slice(),
            pointwise_weight: dp.slice(),
            depthwise_bias: ddb.as_mut().map(Output::slice),
            pointwise_bias: dpb.as_mut().map(Output::slice),
        };
        let (dy, u, arguments) = (dy.slice(), u.slice(), slices(&inputs));
        call(py, |exec| depthwise_separable_conv::backward(dy, &arguments, u, gradients, &d, exec))?;
        Ok((dx.array(), dd.array(), dp.array(), ddb.map(Output::array), dpb.map(Output::array)))
    })
}

fn dims(arrays: &Arguments<Array<'_>>, padding: Option<Pair<usize>>) -> PyResult<Dims> {
    let shapes = Arguments {
        x: arrays.x.shape(),
        depthwise_weight: arrays.depthwise_weight.shape(),
        pointwise_weight: arrays.pointwise_weight.shape(),
        depthwise_bias: arrays.depthwise_bias.as_ref().map(|x| x.shape()),
        pointwise_bias: arrays.pointwise_bias.as_ref().map(|x| x.shape()),
    };
    checked(Dims::new(&shapes, padding.map(Pair::into)))
}

fn inputs<'py, T: numpy::Element>(arrays: &Arguments<Array<'py>>) -> PyResult<Arguments<Input<'py, T>>> {
    Ok(Arguments {
        x: Input::new("x", &arrays.x)?,
        depthwise_weight: Input::new("depthwise_weight", &arrays.depthwise_weight)?,
        pointwise_weight: Input::new("pointwise_weight", &arrays.pointwise_weight)?,
        depthwise_bias: Input::optional("depthwise_bias", arrays.depthwise_bias.as_ref())?,
        pointwise_bias: Input::optional("pointwise_bias", arrays.pointwise_bias.as_ref())?,
    })
}

fn slices<'a, T: numpy::Element>(inputs: &'a Arguments<Input<'_, T>>) -> Arguments<&'a [T]> {
    Arguments {
        x: inputs.x.slice(),
        depthwise_weight: inputs.depthwise_weight.slice(),
        pointwise_weight: inputs.pointwise_weight.slice(),
        depthwise_bias: inputs.depthwise_bias.as_ref().map(Input::slice),
        pointwise_bias: inputs.pointwise_bias.as_ref().map(Input::slice),
    }
}
