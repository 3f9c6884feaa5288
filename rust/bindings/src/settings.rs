//! Settings of the process: number of threads and instruction-set level, first read from the environment.

use std::sync::atomic::{AtomicUsize, Ordering};

use pyhybrid_kernels::lanes::Level;
use pyo3::exceptions::{PyRuntimeWarning, PyValueError};
use pyo3::prelude::*;

/// More threads than this is a mistake, and each costs a stack.
const MAX_THREADS: usize = 1024;

static THREADS: AtomicUsize = AtomicUsize::new(1);
/// Index into [`Level::available`].
static LEVEL: AtomicUsize = AtomicUsize::new(0);

pub fn threads() -> usize {
    THREADS.load(Ordering::Relaxed)
}

pub fn level() -> Level {
    Level::available()[LEVEL.load(Ordering::Relaxed)]
}

/// Processors this process may use.
#[pyfunction]
pub fn cpu_count() -> usize {
    std::thread::available_parallelism().map_or(1, |n| n.get())
}

#[pyfunction]
pub fn get_threads() -> usize {
    threads()
}

#[pyfunction]
pub fn set_threads(n: usize) -> PyResult<()> {
    if !(1..=MAX_THREADS).contains(&n) {
        return Err(PyValueError::new_err(format!("number of threads: expected 1 to {MAX_THREADS}, got {n}")));
    }
    THREADS.store(n, Ordering::Relaxed);
    Ok(())
}

/// Names of the levels that this processor has, slowest first.
#[pyfunction]
pub fn simd_levels() -> Vec<&'static str> {
    Level::available().iter().map(|level| level.name()).collect()
}

#[pyfunction]
pub fn get_simd() -> &'static str {
    level().name()
}

#[pyfunction]
pub fn set_simd(name: &str) -> PyResult<()> {
    let chosen = Level::from_name(name).map_err(PyValueError::new_err)?;
    let index = Level::available().iter().position(|&level| level == chosen);
    LEVEL.store(index.expect("from_name returns an available level"), Ordering::Relaxed);
    Ok(())
}

/// Defaults, then PYHYBRID_THREADS and PYHYBRID_SIMD. A value that cannot be used is a warning: the import must not fail for it.
pub fn from_environment(py: Python<'_>) -> PyResult<()> {
    set_threads(cpu_count().min(MAX_THREADS))?;
    set_simd(Level::best().name())?;
    let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    if let Some(value) = variable("PYHYBRID_THREADS")
        && value.parse().map_or(true, |n| set_threads(n).is_err())
    {
        warn(py, &format!("PYHYBRID_THREADS={value:?} ignored: expected 1 to {MAX_THREADS}"))?;
    }
    if let Some(value) = variable("PYHYBRID_SIMD")
        && let Err(error) = set_simd(&value)
    {
        warn(py, &format!("PYHYBRID_SIMD ignored: {}", error.value(py)))?;
    }
    Ok(())
}

fn warn(py: Python<'_>, message: &str) -> PyResult<()> {
    let message = std::ffi::CString::new(message)?;
    PyErr::warn(py, &py.get_type::<PyRuntimeWarning>(), &message, 1)
}
