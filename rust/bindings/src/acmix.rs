//! acmix: arrays in, arrays out.

use numpy::PyUntypedArrayMethods;
use pyhybrid_kernels::acmix::{self, Arguments, Config, Dims, Saved};
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use crate::arrays::{Array, Input, Int, Output, Pair, call, checked, with_dtype};

/// The arguments that are always there, and those that may be None, in order.
const REQUIRED: [&str; 11] = [
    "x",
    "rate1",
    "rate2",
    "conv1_weight",
    "conv1_bias",
    "conv2_weight",
    "conv2_bias",
    "conv3_weight",
    "conv3_bias",
    "fc_weight",
    "dep_conv_weight",
];
const OPTIONAL: [&str; 4] = ["conv_p_weight", "conv_p_bias", "fc_bias", "dep_conv_bias"];

struct Given<'py> {
    required: [Array<'py>; 11],
    optional: [Option<Array<'py>>; 4],
}

impl<'py> Given<'py> {
    fn dims(&self, config: Config<'_>) -> PyResult<Dims> {
        let optional = self.optional.each_ref().map(|x| x.as_ref().map(|x| x.shape()));
        checked(Dims::new(&Arguments::new(self.required.each_ref().map(|x| x.shape()), optional), config))
    }

    fn inputs<T: numpy::Element>(&self) -> PyResult<Inputs<'py, T>> {
        let required =
            REQUIRED.iter().zip(&self.required).map(|(name, x)| Input::new(name, x)).collect::<PyResult<_>>()?;
        let optional = OPTIONAL.iter().zip(&self.optional).map(|(name, x)| Input::optional(name, x.as_ref()));
        Ok(Inputs { required, optional: optional.collect::<PyResult<_>>()? })
    }
}

struct Inputs<'py, T: numpy::Element> {
    required: Vec<Input<'py, T>>,
    optional: Vec<Option<Input<'py, T>>>,
}

impl<T: numpy::Element> Inputs<'_, T> {
    fn slices(&self) -> Arguments<&[T]> {
        let required = std::array::from_fn(|index| self.required[index].slice());
        Arguments::new(required, std::array::from_fn(|index| self.optional[index].as_ref().map(Input::slice)))
    }
}

#[pyfunction]
#[allow(clippy::too_many_arguments)] // those of the operator
pub fn acmix_forward<'py>(
    py: Python<'py>,
    x: Array<'py>,
    rate1: Array<'py>,
    rate2: Array<'py>,
    conv1_weight: Array<'py>,
    conv1_bias: Array<'py>,
    conv2_weight: Array<'py>,
    conv2_bias: Array<'py>,
    conv3_weight: Array<'py>,
    conv3_bias: Array<'py>,
    fc_weight: Array<'py>,
    dep_conv_weight: Array<'py>,
    conv_p_weight: Option<Array<'py>>,
    conv_p_bias: Option<Array<'py>>,
    fc_bias: Option<Array<'py>>,
    dep_conv_bias: Option<Array<'py>>,
    heads: Int<usize>,
    kernel_size: Int<usize>,
    stride: Pair<usize>,
    border: &str,
    channel_order: &str,
) -> PyResult<Bound<'py, PyTuple>> {
    let projections = [conv1_weight, conv1_bias, conv2_weight, conv2_bias, conv3_weight, conv3_bias];
    let [w1, b1, w2, b2, w3, b3] = projections;
    let required = [x, rate1, rate2, w1, b1, w2, b2, w3, b3, fc_weight, dep_conv_weight];
    let given = Given { required, optional: [conv_p_weight, conv_p_bias, fc_bias, dep_conv_bias] };
    let (heads, kernel_size, stride) = (heads.0, kernel_size.0, stride.into());
    let d = given.dims(Config { heads, kernel_size, stride, border, channel_order })?;
    let x = &given.required[0];
    with_dtype!(T of x => {
        let inputs = given.inputs::<T>()?;
        let empty = |shape: &[usize]| Output::<T>::empty(py, shape);
        let (mut y, mut att, mut conv) = (empty(&d.output())?, empty(&d.output())?, empty(&d.output())?);
        let (q, k, v) = (empty(&d.projections())?, empty(&d.projections())?, empty(&d.projections())?);
        let (mut q, mut k, mut v, mut lse) = (q, k, v, empty(&d.lse())?);
        let mut pe = given.optional[0].as_ref().map(|_| empty(&d.pe())).transpose()?;
        let saved = Saved {
            q: q.slice(),
            k: k.slice(),
            v: v.slice(),
            pe: pe.as_mut().map(Output::slice),
            lse: lse.slice(),
            att: att.slice(),
            conv: conv.slice(),
        };
        let (arguments, y_slice) = (inputs.slices(), y.slice());
        call(py, |exec| acmix::forward(&arguments, y_slice, saved, &d, exec))?;
        let all = [Some(y), Some(q), Some(k), Some(v), pe, Some(lse), Some(att), Some(conv)];
        PyTuple::new(py, all.map(|output| output.map(Output::array)))
    })
}

#[pyfunction]
#[allow(clippy::too_many_arguments)] // dy, the operator's and what the forward saved
pub fn acmix_backward<'py>(
    py: Python<'py>,
    dy: Array<'py>,
    x: Array<'py>,
    rate1: Array<'py>,
    rate2: Array<'py>,
    conv1_weight: Array<'py>,
    conv1_bias: Array<'py>,
    conv2_weight: Array<'py>,
    conv2_bias: Array<'py>,
    conv3_weight: Array<'py>,
    conv3_bias: Array<'py>,
    fc_weight: Array<'py>,
    dep_conv_weight: Array<'py>,
    conv_p_weight: Option<Array<'py>>,
    conv_p_bias: Option<Array<'py>>,
    fc_bias: Option<Array<'py>>,
    dep_conv_bias: Option<Array<'py>>,
    heads: Int<usize>,
    kernel_size: Int<usize>,
    stride: Pair<usize>,
    border: &str,
    channel_order: &str,
    q: Array<'py>,
    k: Array<'py>,
    v: Array<'py>,
    pe: Option<Array<'py>>,
    lse: Array<'py>,
    att: Array<'py>,
    conv: Array<'py>,
) -> PyResult<Bound<'py, PyTuple>> {
    let projections = [conv1_weight, conv1_bias, conv2_weight, conv2_bias, conv3_weight, conv3_bias];
    let [w1, b1, w2, b2, w3, b3] = projections;
    let required = [x, rate1, rate2, w1, b1, w2, b2, w3, b3, fc_weight, dep_conv_weight];
    let given = Given { required, optional: [conv_p_weight, conv_p_bias, fc_bias, dep_conv_bias] };
    let (heads, kernel_size, stride) = (heads.0, kernel_size.0, stride.into());
    let d = given.dims(Config { heads, kernel_size, stride, border, channel_order })?;
    with_dtype!(T of dy => {
        let (dy, inputs) = (Input::<T>::shaped("dy", &dy, &d.output())?, given.inputs::<T>()?);
        let shaped = |name: &str, x: &Array<'py>, shape: &[usize]| Input::<T>::shaped(name, x, shape);
        let (q, k) = (shaped("q", &q, &d.projections())?, shaped("k", &k, &d.projections())?);
        let (v, lse) = (shaped("v", &v, &d.projections())?, shaped("lse", &lse, &d.lse())?);
        let (att, conv) = (shaped("att", &att, &d.output())?, shaped("conv", &conv, &d.output())?);
        let pe = pe.as_ref().map(|pe| shaped("pe", pe, &d.pe())).transpose()?;
        let saved = Saved {
            q: q.slice(),
            k: k.slice(),
            v: v.slice(),
            pe: pe.as_ref().map(Input::slice),
            lse: lse.slice(),
            att: att.slice(),
            conv: conv.slice(),
        };
        let outputs = given.required.iter().map(Some).chain(given.optional.iter().map(Option::as_ref));
        let outputs = outputs.map(|x| x.map(Output::<T>::like).transpose()).collect::<PyResult<Vec<_>>>();
        let mut outputs = outputs?;
        let mut slices = outputs.iter_mut().map(|output| output.as_mut().map(Output::slice));
        let required = std::array::from_fn(|_| slices.next().flatten().unwrap_or_default());
        let gradients = Arguments::new(required, std::array::from_fn(|_| slices.next().flatten()));
        let (dy, arguments) = (dy.slice(), inputs.slices());
        call(py, |exec| acmix::backward(dy, &arguments, &saved, gradients, &d, exec))?;
        PyTuple::new(py, outputs.into_iter().map(|output| output.map(Output::array)))
    })
}
