//! squeeze_excite: arrays in, arrays out.

use numpy::PyUntypedArrayMethods;
use pyhybrid_kernels::squeeze_excite::{self, Dims, Gradients, Network};
use pyo3::prelude::*;

use crate::arrays::{Array, Input, Output, call, checked, with_dtype};

type Backward<'py> = (Array<'py>, Array<'py>, Array<'py>, Option<Array<'py>>, Option<Array<'py>>);

#[pyfunction]
#[pyo3(signature = (x, reduce_weight, expand_weight, reduce_bias, expand_bias, activation))]
pub fn squeeze_excite_forward<'py>(
    py: Python<'py>,
    x: Array<'py>,
    reduce_weight: Array<'py>,
    expand_weight: Array<'py>,
    reduce_bias: Option<Array<'py>>,
    expand_bias: Option<Array<'py>>,
    activation: &str,
) -> PyResult<(Array<'py>, Array<'py>)> {
    let (b1, b2) = (reduce_bias.as_ref().map(|b| b.shape()), expand_bias.as_ref().map(|b| b.shape()));
    let dims = checked(Dims::new(x.shape(), reduce_weight.shape(), expand_weight.shape(), b1, b2, activation))?;
    with_dtype!(T of x => {
        let (mut y, mut u) = (Output::<T>::like(&x)?, Output::<T>::empty(py, &dims.u_shape())?);
        let x = Input::<T>::new("x", &x)?;
        let v1 = Input::<T>::new("reduce_weight", &reduce_weight)?;
        let v2 = Input::<T>::new("expand_weight", &expand_weight)?;
        let b1 = Input::<T>::optional("reduce_bias", reduce_bias.as_ref())?;
        let b2 = Input::<T>::optional("expand_bias", expand_bias.as_ref())?;
        let network = Network {
            reduce_weight: v1.slice(),
            expand_weight: v2.slice(),
            reduce_bias: b1.as_ref().map(Input::slice),
            expand_bias: b2.as_ref().map(Input::slice),
        };
        let (x, y_slice, u_slice) = (x.slice(), y.slice(), u.slice());
        call(py, |exec| squeeze_excite::forward(x, network, y_slice, u_slice, &dims, exec))?;
        Ok((y.array(), u.array()))
    })
}

#[pyfunction]
#[pyo3(signature = (dy, x, reduce_weight, expand_weight, reduce_bias, expand_bias, activation, u))]
#[allow(clippy::too_many_arguments)]
pub fn squeeze_excite_backward<'py>(
    py: Python<'py>,
    dy: Array<'py>,
    x: Array<'py>,
    reduce_weight: Array<'py>,
    expand_weight: Array<'py>,
    reduce_bias: Option<Array<'py>>,
    expand_bias: Option<Array<'py>>,
    activation: &str,
    u: Array<'py>,
) -> PyResult<Backward<'py>> {
    let (b1, b2) = (reduce_bias.as_ref().map(|b| b.shape()), expand_bias.as_ref().map(|b| b.shape()));
    let dims = checked(Dims::new(x.shape(), reduce_weight.shape(), expand_weight.shape(), b1, b2, activation))?;
    with_dtype!(T of x => {
        let (mut dx, mut dv1) = (Output::<T>::like(&x)?, Output::<T>::like(&reduce_weight)?);
        let mut dv2 = Output::<T>::like(&expand_weight)?;
        let mut db1 = reduce_bias.as_ref().map(Output::<T>::like).transpose()?;
        let mut db2 = expand_bias.as_ref().map(Output::<T>::like).transpose()?;
        let (dy, u) = (Input::<T>::shaped("dy", &dy, x.shape())?, Input::<T>::shaped("u", &u, &dims.u_shape())?);
        let x = Input::<T>::new("x", &x)?;
        let v1 = Input::<T>::new("reduce_weight", &reduce_weight)?;
        let v2 = Input::<T>::new("expand_weight", &expand_weight)?;
        let b1 = Input::<T>::optional("reduce_bias", reduce_bias.as_ref())?;
        let b2 = Input::<T>::optional("expand_bias", expand_bias.as_ref())?;
        let network = Network {
            reduce_weight: v1.slice(),
            expand_weight: v2.slice(),
            reduce_bias: b1.as_ref().map(Input::slice),
            expand_bias: b2.as_ref().map(Input::slice),
        };
        let grads = Gradients {
            reduce_weight: dv1.slice(),
            expand_weight: dv2.slice(),
            reduce_bias: db1.as_mut().map(Output::slice),
            expand_bias: db2.as_mut().map(Output::slice),
        };
        let (dy, x, u, dx_slice) = (dy.slice(), x.slice(), u.slice(), dx.slice());
        call(py, |exec| squeeze_excite::backward(dy, x, network, u, dx_slice, grads, &dims, exec))?;
        Ok((dx.array(), dv1.array(), dv2.array(), db1.map(Output::array), db2.map(Output::array)))
    })
}
