//! squeeze_excite_conv: arrays in, arrays out.

use numpy::PyUntypedArrayMethods;
use pyhybrid_kernels::squeeze_excite::{self, Gradients, Network};
use pyhybrid_kernels::squeeze_excite_conv::{self, AllGradients, Dims};
use pyo3::prelude::*;

use crate::arrays::{Array, Input, Output, call, checked, with_dtype};

/// The arrays besides x: reduce_weight, expand_weight, weight, then the biases of each.
struct Parameters<'py> {
    weights: [Array<'py>; 3],
    biases: [Option<Array<'py>>; 3],
}

impl<'py> Parameters<'py> {
    fn dims(&self, x: &Array, activation: &str) -> PyResult<Dims> {
        let [reduce, expand, weight] = self.weights.each_ref().map(|w| w.shape());
        let [b1, b2, b3] = self.biases.each_ref().map(|b| b.as_ref().map(|b| b.shape()));
        let excite = checked(squeeze_excite::Dims::new(x.shape(), reduce, expand, b1, b2, activation))?;
        let shape = x.shape().try_into().expect("four axes, which squeeze_excite demands");
        checked(Dims::new(excite, shape, weight, b3))
    }

    fn inputs<T: numpy::Element>(&self) -> PyResult<Inputs<'py, T>> {
        let [reduce, expand, weight] = &self.weights;
        let [b1, b2, b3] = &self.biases;
        Ok(Inputs {
            weights: [
                Input::new("reduce_weight", reduce)?,
                Input::new("expand_weight", expand)?,
                Input::new("weight", weight)?,
            ],
            biases: [
                Input::optional("reduce_bias", b1.as_ref())?,
                Input::optional("expand_bias", b2.as_ref())?,
                Input::optional("bias", b3.as_ref())?,
            ],
        })
    }
}

struct Inputs<'py, T: numpy::Element> {
    weights: [Input<'py, T>; 3],
    biases: [Option<Input<'py, T>>; 3],
}

impl<T: numpy::Element> Inputs<'_, T> {
    /// The small network, and the convolution's weight and bias.
    fn slices(&self) -> (Network<'_, T>, &[T], Option<&[T]>) {
        let [reduce_weight, expand_weight, weight] = self.weights.each_ref().map(Input::slice);
        let [reduce_bias, expand_bias, bias] = self.biases.each_ref().map(|b| b.as_ref().map(Input::slice));
        (Network { reduce_weight, expand_weight, reduce_bias, expand_bias }, weight, bias)
    }
}

#[pyfunction]
#[pyo3(signature = (x, reduce_weight, expand_weight, weight, reduce_bias, expand_bias, bias, activation))]
#[allow(clippy::too_many_arguments)]
pub fn squeeze_excite_conv_forward<'py>(
    py: Python<'py>,
    x: Array<'py>,
    reduce_weight: Array<'py>,
    expand_weight: Array<'py>,
    weight: Array<'py>,
    reduce_bias: Option<Array<'py>>,
    expand_bias: Option<Array<'py>>,
    bias: Option<Array<'py>>,
    activation: &str,
) -> PyResult<[Array<'py>; 2]> {
    let parameters =
        Parameters { weights: [reduce_weight, expand_weight, weight], biases: [reduce_bias, expand_bias, bias] };
    let dims = parameters.dims(&x, activation)?;
    with_dtype!(T of x => {
        let (mut y, mut u) = (Output::<T>::empty(py, &dims.output())?, Output::<T>::empty(py, &dims.u_shape())?);
        let (x, inputs) = (Input::<T>::new("x", &x)?, parameters.inputs::<T>()?);
        let (network, weight, bias) = inputs.slices();
        let (x, y_slice, u_slice) = (x.slice(), y.slice(), u.slice());
        call(py, |exec| squeeze_excite_conv::forward(x, network, weight, bias, y_slice, u_slice, &dims, exec))?;
        Ok([y.array(), u.array()])
    })
}

/// The gradients in the order of the arguments.
#[pyfunction]
#[pyo3(signature = (dy, x, reduce_weight, expand_weight, weight, reduce_bias, expand_bias, bias, activation, u))]
#[allow(clippy::too_many_arguments)]
pub fn squeeze_excite_conv_backward<'py>(
    py: Python<'py>,
    dy: Array<'py>,
    x: Array<'py>,
    reduce_weight: Array<'py>,
    expand_weight: Array<'py>,
    weight: Array<'py>,
    reduce_bias: Option<Array<'py>>,
    expand_bias: Option<Array<'py>>,
    bias: Option<Array<'py>>,
    activation: &str,
    u: Array<'py>,
) -> PyResult<Vec<Option<Array<'py>>>> {
    let parameters =
        Parameters { weights: [reduce_weight, expand_weight, weight], biases: [reduce_bias, expand_bias, bias] };
    let dims = parameters.dims(&x, activation)?;
    with_dtype!(T of x => {
        let mut dx = Output::<T>::like(&x)?;
        let mut dweights = Vec::new();
        for weight in &parameters.weights {
            dweights.push(Output::<T>::like(weight)?);
        }
        let mut dbiases = Vec::new();
        for bias in &parameters.biases {
            dbiases.push(bias.as_ref().map(Output::<T>::like).transpose()?);
        }
        let (dy, u) = (Input::<T>::shaped("dy", &dy, &dims.output())?, Input::<T>::shaped("u", &u, &dims.u_shape())?);
        let (x, inputs) = (Input::<T>::new("x", &x)?, parameters.inputs::<T>()?);
        let (network, weight, _) = inputs.slices();
        let (dy, x, u) = (dy.slice(), x.slice(), u.slice());
        let [reduce_weight, expand_weight, dweight] = &mut dweights[..] else { unreachable!("three were made") };
        let [reduce_bias, expand_bias, dbias] = &mut dbiases[..] else { unreachable!("three were made") };
        let gradients = AllGradients {
            x: dx.slice(),
            network: Gradients {
                reduce_weight: reduce_weight.slice(),
                expand_weight: expand_weight.slice(),
                reduce_bias: reduce_bias.as_mut().map(Output::slice),
                expand_bias: expand_bias.as_mut().map(Output::slice),
            },
            weight: dweight.slice(),
            bias: dbias.as_mut().map(Output::slice),
        };
        call(py, |exec| squeeze_excite_conv::backward(dy, x, network, weight, u, gradients, &dims, exec))?;
        let weights = dweights.into_iter().map(|of| Some(of.array()));
        Ok(std::iter::once(Some(dx.array())).chain(weights).chain(dbiases.into_iter().map(|of| of.map(Output::array))).collect())
    })
}
