//! The compiled module `pyhybrid._core`. For each operator NAME: `NAME_forward(arrays…, config…) -> (y, *saved)` and
//! `NAME_backward(dy, *cache) -> gradients`. The Python side is documentation and checks; here arrays become slices.

use pyo3::exceptions::PyImportError;
use pyo3::prelude::*;

mod acmix;
mod arrays;
mod conv2d;
mod conv_decomposition;
mod conv_path;
mod limits;
mod local_attention;
mod pointwise_conv;
mod positional_term;
mod reflection_pad;
mod settings;
mod shift;
mod shift_conv;
mod shift_sum;
mod softmax;
mod tap_projection;
mod unfold;

/// Panics inside a worker thread, so that a test can see what becomes of it.
#[pyfunction]
fn _panic_for_test(py: Python<'_>) -> PyResult<()> {
    arrays::call(py, |exec| exec.for_each(usize::MAX, 0..64, |task| assert!(task < 32, "panic for a test")))
}

/// The settings and the thread pool belong to the process, so one interpreter may have them: the first.
fn require_main_interpreter(py: Python<'_>) -> PyResult<()> {
    let interpreters = py.import("_interpreters").or_else(|_| py.import("_xxsubinterpreters")); // since 3.13; until 3.12
    let Ok(interpreters) = interpreters else { return Ok(()) };
    let (current, main) = (interpreters.call_method0("get_current")?, interpreters.call_method0("get_main")?);
    if current.ne(main)? {
        return Err(PyImportError::new_err("pyhybrid._core cannot be imported in a sub-interpreter"));
    }
    Ok(())
}

#[pymodule]
mod _core {
    use pyo3::prelude::*;

    #[pymodule_export]
    use super::_panic_for_test;
    #[pymodule_export]
    use super::acmix::{acmix_backward, acmix_forward};
    #[pymodule_export]
    use super::conv_decomposition::{conv_decomposition_backward, conv_decomposition_forward};
    #[pymodule_export]
    use super::conv_path::{conv_path_backward, conv_path_forward};
    #[pymodule_export]
    use super::conv2d::{conv2d_backward, conv2d_forward};
    #[pymodule_export]
    use super::limits::{fma_rate, read_rate};
    #[pymodule_export]
    use super::local_attention::{local_attention_backward, local_attention_forward};
    #[pymodule_export]
    use super::pointwise_conv::{pointwise_conv_backward, pointwise_conv_forward};
    #[pymodule_export]
    use super::positional_term::{positional_term_backward, positional_term_forward};
    #[pymodule_export]
    use super::reflection_pad::{reflection_pad_backward, reflection_pad_forward};
    #[pymodule_export]
    use super::settings::{cpu_count, get_simd, get_threads, set_simd, set_threads, simd_levels};
    #[pymodule_export]
    use super::shift::{shift_backward, shift_forward};
    #[pymodule_export]
    use super::shift_conv::{shift_conv_backward, shift_conv_forward};
    #[pymodule_export]
    use super::shift_sum::{shift_sum_backward, shift_sum_forward};
    #[pymodule_export]
    use super::softmax::{softmax_backward, softmax_forward};
    #[pymodule_export]
    use super::tap_projection::{tap_projection_backward, tap_projection_forward};
    #[pymodule_export]
    use super::unfold::{unfold_backward, unfold_forward};

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("__version__", env!("CARGO_PKG_VERSION"))?;
        super::require_main_interpreter(module.py())?;
        // NumPy's array interface is imported here: in the first call, an interrupt could cut the import short.
        super::arrays::Output::<f64>::empty(module.py(), &[0])?;
        super::settings::from_environment(module.py())
    }
}
