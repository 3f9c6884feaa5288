//! limits: what this machine can do at best, at the current settings.

use pyhybrid_kernels::limits;
use pyo3::prelude::*;

use crate::arrays::call;

/// Fused multiply-adds on float32 registers, in floating-point operations per second.
#[pyfunction]
pub fn fma_rate(py: Python<'_>) -> PyResult<f64> {
    measured(py, limits::fma_rate::<f32>)
}

/// Reading from memory, in bytes per second.
#[pyfunction]
pub fn read_rate(py: Python<'_>) -> PyResult<f64> {
    measured(py, limits::read_rate)
}

fn measured(
    py: Python<'_>,
    measure: impl Fn(&pyhybrid_kernels::exec::Exec) -> Result<f64, pyhybrid_kernels::error::Error> + Send + Sync,
) -> PyResult<f64> {
    let mut rate = 0.0;
    call(py, |exec| {
        rate = measure(exec)?;
        Ok(())
    })?;
    Ok(rate)
}
