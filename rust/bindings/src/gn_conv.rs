//! gn_conv: arrays in, arrays out.

use numpy::PyUntypedArrayMethods;
use pyhybrid_kernels::gn_conv::{self, Arguments, Dims, Saved};
use pyhybrid_kernels::real::Real;
use pyo3::prelude::*;

use crate::arrays::{Array, Input, Int, Output, call, checked, with_dtype};

#[pyfunction]
#[pyo3(signature = (x, proj_in_weight, dwconv_weight, pws_weight, proj_out_weight, proj_in_bias, dwconv_bias, pws_bias, proj_out_bias,
                    order, scale))]
#[allow(clippy::too_many_arguments)] // the operator's
pub fn gn_conv_forward<'py>(
    py: Python<'py>,
    x: Array<'py>,
    proj_in_weight: Array<'py>,
    dwconv_weight: Array<'py>,
    pws_weight: Option<Array<'py>>,
    proj_out_weight: Option<Array<'py>>,
    proj_in_bias: Option<Array<'py>>,
    dwconv_bias: Option<Array<'py>>,
    pws_bias: Option<Array<'py>>,
    proj_out_bias: Option<Array<'py>>,
    order: Int<usize>,
    scale: f64,
) -> PyResult<[Array<'py>; 5]> {
    let arrays = Arguments {
        x,
        proj_in_weight,
        dwconv_weight,
        pws_weight,
        proj_out_weight,
        proj_in_bias,
        dwconv_bias,
        pws_bias,
        proj_out_bias,
    };
    let d = dims(&arrays, order)?;
    let x = &arrays.x;
    with_dtype!(T of x => {
        let (inputs, shapes) = (inputs::<T>(&arrays)?, d.saved());
        let empty = |shape: &[usize; 4]| Output::<T>::empty(py, shape);
        let (mut y, mut p0, mut q) = (empty(&d.output())?, empty(&shapes.p0)?, empty(&shapes.q)?);
        let (mut filtered, mut u) = (empty(&shapes.filtered)?, empty(&shapes.u)?);
        let saved = Saved { p0: p0.slice(), q: q.slice(), filtered: filtered.slice(), u: u.slice() };
        let (arguments, y_slice) = (slices(&inputs), y.slice());
        call(py, |exec| gn_conv::forward(&arguments, T::from_f64(scale), y_slice, saved, &d, exec))?;
        Ok([y.array(), p0.array(), q.array(), filtered.array(), u.array()])
    })
}

type Gradients<'py> = (
    Array<'py>,
    Array<'py>,
    Array<'py>,
    Option<Array<'py>>,
    Option<Array<'py>>,
    Option<Array<'py>>,
    Option<Array<'py>>,
    Option<Array<'py>>,
    Option<Array<'py>>,
);

#[pyfunction]
#[pyo3(signature = (dy, x, proj_in_weight, dwconv_weight, pws_weight, proj_out_weight, proj_in_bias, dwconv_bias, pws_bias,
                    proj_out_bias, order, scale, p0, q, filtered, u))]
#[allow(clippy::too_many_arguments)] // dy, the operator's, and what it saved
pub fn gn_conv_backward<'py>(
    dy: Array<'py>,
    x: Array<'py>,
    proj_in_weight: Array<'py>,
    dwconv_weight: Array<'py>,
    pws_weight: Option<Array<'py>>,
    proj_out_weight: Option<Array<'py>>,
    proj_in_bias: Option<Array<'py>>,
    dwconv_bias: Option<Array<'py>>,
    pws_bias: Option<Array<'py>>,
    proj_out_bias: Option<Array<'py>>,
    order: Int<usize>,
    scale: f64,
    p0: Array<'py>,
    q: Array<'py>,
    filtered: Array<'py>,
    u: Array<'py>,
) -> PyResult<Gradients<'py>> {
    let py = dy.py();
    let a = Arguments {
        x,
        proj_in_weight,
        dwconv_weight,
        pws_weight,
        proj_out_weight,
        proj_in_bias,
        dwconv_bias,
        pws_bias,
        proj_out_bias,
    };
    let d = dims(&a, order)?;
    with_dtype!(T of dy => {
        let (dy, inputs, shapes) = (Input::<T>::shaped("dy", &dy, &d.output())?, inputs::<T>(&a)?, d.saved());
        let p0 = Input::<T>::shaped("p0", &p0, &shapes.p0)?;
        let q = Input::<T>::shaped("q", &q, &shapes.q)?;
        let filtered = Input::<T>::shaped("filtered", &filtered, &shapes.filtered)?;
        let u = Input::<T>::shaped("u", &u, &shapes.u)?;
        let like = |x: &Array<'py>| Output::<T>::like(x);
        let some = |x: &Option<Array<'py>>| x.as_ref().map(like).transpose();
        let (mut dx, mut d_in, mut d_dw) = (like(&a.x)?, like(&a.proj_in_weight)?, like(&a.dwconv_weight)?);
        let (mut d_pws, mut d_out) = (some(&a.pws_weight)?, some(&a.proj_out_weight)?);
        let (mut b_in, mut b_dw) = (some(&a.proj_in_bias)?, some(&a.dwconv_bias)?);
        let (mut b_pws, mut b_out) = (some(&a.pws_bias)?, some(&a.proj_out_bias)?);
        let gradients = Arguments {
            x: dx.slice(),
            proj_in_weight: d_in.slice(),
            dwconv_weight: d_dw.slice(),
            pws_weight: d_pws.as_mut().map(Output::slice),
            proj_out_weight: d_out.as_mut().map(Output::slice),
            proj_in_bias: b_in.as_mut().map(Output::slice),
            dwconv_bias: b_dw.as_mut().map(Output::slice),
            pws_bias: b_pws.as_mut().map(Output::slice),
            proj_out_bias: b_out.as_mut().map(Output::slice),
        };
        let saved = Saved { p0: p0.slice(), q: q.slice(), filtered: filtered.slice(), u: u.slice() };
        let (dy, arguments) = (dy.slice(), slices(&inputs));
        call(py, |exec| gn_conv::backward(dy, &arguments, T::from_f64(scale), &saved, gradients, &d, exec))?;
        Ok((
            dx.array(),
            d_in.array(),
            d_dw.array(),
            d_pws.map(Output::array),
            d_out.map(Output::array),
            b_in.map(Output::array),
            b_dw.map(Output::array),
            b_pws.map(Output::array),
            b_out.map(Output::array),
        ))
    })
}

fn dims(a: &Arguments<Array<'_>>, order: Int<usize>) -> PyResult<Dims> {
    let shapes = Arguments {
        x: a.x.shape(),
        proj_in_weight: a.proj_in_weight.shape(),
        dwconv_weight: a.dwconv_weight.shape(),
        pws_weight: a.pws_weight.as_ref().map(|x| x.shape()),
        proj_out_weight: a.proj_out_weight.as_ref().map(|x| x.shape()),
        proj_in_bias: a.proj_in_bias.as_ref().map(|x| x.shape()),
        dwconv_bias: a.dwconv_bias.as_ref().map(|x| x.shape()),
        pws_bias: a.pws_bias.as_ref().map(|x| x.shape()),
        proj_out_bias: a.proj_out_bias.as_ref().map(|x| x.shape()),
    };
    checked(Dims::new(&shapes, order.0))
}

fn inputs<'py, T: numpy::Element>(a: &Arguments<Array<'py>>) -> PyResult<Arguments<Input<'py, T>>> {
    Ok(Arguments {
        x: Input::new("x", &a.x)?,
        proj_in_weight: Input::new("proj_in_weight", &a.proj_in_weight)?,
        dwconv_weight: Input::new("dwconv_weight", &a.dwconv_weight)?,
        pws_weight: Input::optional("pws_weight", a.pws_weight.as_ref())?,
        proj_out_weight: Input::optional("proj_out_weight", a.proj_out_weight.as_ref())?,
        proj_in_bias: Input::optional("proj_in_bias", a.proj_in_bias.as_ref())?,
        dwconv_bias: Input::optional("dwconv_bias", a.dwconv_bias.as_ref())?,
        pws_bias: Input::optional("pws_bias", a.pws_bias.as_ref())?,
        proj_out_bias: Input::optional("proj_out_bias", a.proj_out_bias.as_ref())?,
    })
}

fn slices<'a, T: numpy::Element>(inputs: &'a Arguments<Input<'_, T>>) -> Arguments<&'a [T]> {
    Arguments {
        x: inputs.x.slice(),
        proj_in_weight: inputs.proj_in_weight.slice(),
        dwconv_weight: inputs.dwconv_weight.slice(),
        pws_weight: inputs.pws_weight.as_ref().map(Input::slice),
        proj_out_weight: inputs.proj_out_weight.as_ref().map(Input::slice),
        proj_in_bias: inputs.proj_in_bias.as_ref().map(Input::slice),
        dwconv_bias: inputs.dwconv_bias.as_ref().map(Input::slice),
        pws_bias: inputs.pws_bias.as_ref().map(Input::slice),
        proj_out_bias: inputs.proj_out_bias.as_ref().map(Input::slice),
    }
}
