//! The compiled module `pyhybrid._core`. For each operator NAME: `NAME_forward(arrays…, config…) -> (y, *saved)` and
//! `NAME_backward(dy, *cache) -> gradients`. The Python side is documentation and checks; here arrays become slices.

use pyo3::exceptions::PyImportError;
use pyo3::prelude::*;

mod acmix;
mod add;
mod aggregation;
mod arrays;
mod attention;
mod avg_pool2d;
mod batch_norm;
mod batch_norm_act;
mod bilinear_sample;
mod conv2d;
mod conv_decomposition;
mod conv_path;
mod deform_conv2d;
mod depthwise_separable_conv;
mod drop_path;
mod elu_plus_one;
mod erf;
mod gate_chain;
mod gated_conv;
mod gelu;
mod global_avg_pool;
mod global_filter;
mod gn_conv;
mod grid_sample;
mod group_norm;
mod instance_norm;
mod interleave;
mod layer_norm;
mod layer_scale;
mod limits;
mod linear;
mod linear_attention;
mod local_attention;
mod local_relative_attention;
mod max_pool2d;
mod mbconv_hidden;
mod mixed_conv;
mod modulation;
mod pointwise_conv;
mod positional_term;
mod reflection_pad;
mod regroup;
mod relative_attention;
mod relative_bias;
mod relu;
mod resize_bilinear;
mod resize_nearest;
mod roll;
mod scale_aware_aggregation;
mod settings;
mod shift;
mod shift_conv;
mod shift_sum;
mod sigmoid;
mod silu;
mod softmax;
mod spectrum_resize;
mod squeeze_excite;
mod squeeze_excite_conv;
mod tanh;
mod tap_projection;
mod unfold;
mod window_partition;
mod window_reverse;

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
    use super::add::{add_backward, add_forward};
    #[pymodule_export]
    use super::aggregation::{aggregation_backward, aggregation_forward};
    #[pymodule_export]
    use super::attention::{attention_backward, attention_forward};
    #[pymodule_export]
    use super::avg_pool2d::{avg_pool2d_backward, avg_pool2d_forward};
    #[pymodule_export]
    use super::batch_norm::{batch_norm_backward, batch_norm_forward};
    #[pymodule_export]
    use super::batch_norm_act::{batch_norm_act_backward, batch_norm_act_forward};
    #[pymodule_export]
    use super::bilinear_sample::{bilinear_sample_backward, bilinear_sample_forward};
    #[pymodule_export]
    use super::conv_decomposition::{conv_decomposition_backward, conv_decomposition_forward};
    #[pymodule_export]
    use super::conv_path::{conv_path_backward, conv_path_forward};
    #[pymodule_export]
    use super::conv2d::{conv2d_backward, conv2d_forward};
    #[pymodule_export]
    use super::deform_conv2d::{deform_conv2d_backward, deform_conv2d_forward};
    #[pymodule_export]
    use super::depthwise_separable_conv::{depthwise_separable_conv_backward, depthwise_separable_conv_forward};
    #[pymodule_export]
    use super::drop_path::{drop_path_backward, drop_path_forward};
    #[pymodule_export]
    use super::elu_plus_one::{elu_plus_one_backward, elu_plus_one_forward};
    #[pymodule_export]
    use super::erf::{erf_backward, erf_forward};
    #[pymodule_export]
    use super::gate_chain::{gate_chain_backward, gate_chain_forward};
    #[pymodule_export]
    use super::gated_conv::{gated_conv_backward, gated_conv_forward};
    #[pymodule_export]
    use super::gelu::{gelu_backward, gelu_forward};
    #[pymodule_export]
    use super::global_avg_pool::{global_avg_pool_backward, global_avg_pool_forward};
    #[pymodule_export]
    use super::global_filter::{global_filter_backward, global_filter_forward};
    #[pymodule_export]
    use super::gn_conv::{gn_conv_backward, gn_conv_forward};
    #[pymodule_export]
    use super::grid_sample::{grid_sample_backward, grid_sample_forward};
    #[pymodule_export]
    use super::group_norm::{group_norm_backward, group_norm_forward};
    #[pymodule_export]
    use super::instance_norm::{instance_norm_backward, instance_norm_forward};
    #[pymodule_export]
    use super::interleave::{interleave_backward, interleave_forward};
    #[pymodule_export]
    use super::layer_norm::{layer_norm_backward, layer_norm_forward};
    #[pymodule_export]
    use super::layer_scale::{layer_scale_backward, layer_scale_forward};
    #[pymodule_export]
    use super::limits::{fma_rate, read_rate};
    #[pymodule_export]
    use super::linear::{linear_backward, linear_forward};
    #[pymodule_export]
    use super::linear_attention::{linear_attention_backward, linear_attention_forward};
    #[pymodule_export]
    use super::local_attention::{local_attention_backward, local_attention_forward};
    #[pymodule_export]
    use super::local_relative_attention::{local_relative_attention_backward, local_relative_attention_forward};
    #[pymodule_export]
    use super::max_pool2d::{max_pool2d_backward, max_pool2d_forward};
    #[pymodule_export]
    use super::mbconv_hidden::{mbconv_hidden_backward, mbconv_hidden_forward};
    #[pymodule_export]
    use super::mixed_conv::{mixed_conv_backward, mixed_conv_forward};
    #[pymodule_export]
    use super::modulation::{modulation_backward, modulation_forward};
    #[pymodule_export]
    use super::pointwise_conv::{pointwise_conv_backward, pointwise_conv_forward};
    #[pymodule_export]
    use super::positional_term::{positional_term_backward, positional_term_forward};
    #[pymodule_export]
    use super::reflection_pad::{reflection_pad_backward, reflection_pad_forward};
    #[pymodule_export]
    use super::regroup::{regroup_backward, regroup_forward};
    #[pymodule_export]
    use super::relative_attention::{relative_attention_backward, relative_attention_forward};
    #[pymodule_export]
    use super::relative_bias::{relative_bias_backward, relative_bias_forward};
    #[pymodule_export]
    use super::relu::{relu_backward, relu_forward};
    #[pymodule_export]
    use super::resize_bilinear::{resize_bilinear_backward, resize_bilinear_forward};
    #[pymodule_export]
    use super::resize_nearest::{resize_nearest_backward, resize_nearest_forward};
    #[pymodule_export]
    use super::roll::{roll_backward, roll_forward};
    #[pymodule_export]
    use super::scale_aware_aggregation::{scale_aware_aggregation_backward, scale_aware_aggregation_forward};
    #[pymodule_export]
    use super::settings::{cpu_count, get_simd, get_threads, set_simd, set_threads, simd_levels};
    #[pymodule_export]
    use super::shift::{shift_backward, shift_forward};
    #[pymodule_export]
    use super::shift_conv::{shift_conv_backward, shift_conv_forward};
    #[pymodule_export]
    use super::shift_sum::{shift_sum_backward, shift_sum_forward};
    #[pymodule_export]
    use super::sigmoid::{sigmoid_backward, sigmoid_forward};
    #[pymodule_export]
    use super::silu::{silu_backward, silu_forward};
    #[pymodule_export]
    use super::softmax::{softmax_backward, softmax_forward};
    #[pymodule_export]
    use super::spectrum_resize::{spectrum_resize_backward, spectrum_resize_forward};
    #[pymodule_export]
    use super::squeeze_excite::{squeeze_excite_backward, squeeze_excite_forward};
    #[pymodule_export]
    use super::squeeze_excite_conv::{squeeze_excite_conv_backward, squeeze_excite_conv_forward};
    #[pymodule_export]
    use super::tanh::{tanh_backward, tanh_forward};
    #[pymodule_export]
    use super::tap_projection::{tap_projection_backward, tap_projection_forward};
    #[pymodule_export]
    use super::unfold::{unfold_backward, unfold_forward};
    #[pymodule_export]
    use super::window_partition::{window_partition_backward, window_partition_forward};
    #[pymodule_export]
    use super::window_reverse::{window_reverse_backward, window_reverse_forward};

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("__version__", env!("CARGO_PKG_VERSION"))?;
        super::require_main_interpreter(module.py())?;
        // NumPy's array interface is imported here: in the first call, an interrupt could cut the import short.
        super::arrays::Output::<f64>::empty(module.py(), &[0])?;
        super::settings::from_environment(module.py())
    }
}
