//! modulation: arrays in, arrays out.

use numpy::PyUntypedArrayMethods;
use pyhybrid_kernels::modulation::{self, Dims};
use pyo3::prelude::*;

use crate::arrays::{Array, Input, Output, call, checked, with_dtype};

#[pyfunction]
pub fn modulation_forward<'py>(py: Python<'py>, v: Array<'py>, modulator: Array<'py>) -> PyResult<(Array<'py>,)> {
    let dims = checked(Dims::new(v.shape(), modulator.shape()))?;
    with_dtype!(T of v => {
        let mut z = Output::<T>::like(&v)?;
        let (v, modulator) = (Input::<T>::new("v", &v)?, Input::<T>::new("modulator", &modulator)?);
        let (v, modulator, z_slice) = (v.slice(), modulator.slice(), z.slice());
        call(py, |exec| modulation::forward(v, modulator, z_slice, &dims, exec))?;
        Ok((z.array(),))
    })
}

#[pyfunction]
pub fn modulation_backward<'py>(
    py: Python<'py>,
    dy: Array<'py>,
    v: Array<'py>,
    modulator: Array<'py>,
) -> PyResult<[Array<'py>; 2]> {
    let dims = checked(Dims::new(v.shape(), modulator.shape()))?;
    with_dtype!(T of dy => {
        let dz = Input::<T>::shaped("dy", &dy, v.shape())?;
        let (mut dv, mut dmodulator) = (Output::<T>::like(&v)?, Output::<T>::like(&modulator)?);
        let (v, modulator) = (Input::<T>::new("v", &v)?, Input::<T>::new("modulator", &modulator)?);
        let (dz, v, modulator, dv_slice, dmap_slice) = (dz.slice(), v.slice(), modulator.slice(), dv.slice(), dmodulator.slice());
        call(py, |exec| modulation::backward(dz, v, modulator, dv_slice, dmap_slice, &dims, exec))?;
        Ok([dv.array(), dmodulator.array()])
    })
}
