//! What every binding shares: arrays as slices, fresh outputs, the call without the interpreter lock, errors as exceptions.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;

use numpy::{
    Element, PyArray1, PyArrayDescrMethods, PyArrayDyn, PyArrayMethods, PyReadonlyArrayDyn, PyReadwriteArrayDyn,
};
use numpy::{PyUntypedArray, PyUntypedArrayMethods, dtype};
use pyhybrid_kernels::error::Error;
use pyhybrid_kernels::exec::{Exec, message, paced};
use pyo3::exceptions::{PyMemoryError, PyOverflowError, PyRuntimeError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PySlice, PyTuple};

use crate::settings;

/// An array of any dtype, as it arrives and as it is returned.
pub type Array<'py> = Bound<'py, PyUntypedArray>;

pub enum Dtype {
    F32,
    F64,
}

/// The dtype of the array that decides for the whole call.
pub fn dtype_of(name: &str, x: &Array<'_>) -> PyResult<Dtype> {
    let (py, found) = (x.py(), x.dtype());
    if found.is_equiv_to(&dtype::<f32>(py)) {
        Ok(Dtype::F32)
    } else if found.is_equiv_to(&dtype::<f64>(py)) {
        Ok(Dtype::F64)
    } else {
        Err(PyTypeError::new_err(format!("{name}: expected dtype float32 or float64, got {found}")))
    }
}

/// Runs the block with `T` = f32 or f64, the dtype of the named array.
macro_rules! with_dtype {
    ($T:ident of $x:ident => $body:block) => {
        match $crate::arrays::dtype_of(stringify!($x), &$x)? {
            $crate::arrays::Dtype::F32 => {
                type $T = f32;
                $body
            }
            $crate::arrays::Dtype::F64 => {
                type $T = f64;
                $body
            }
        }
    };
}
pub(crate) use with_dtype;

/// An argument: C-contiguous, aligned, of the call's dtype; held unchanged while the guard lives.
pub struct Input<'py, T: Element>(PyReadonlyArrayDyn<'py, T>);

impl<'py, T: Element> Input<'py, T> {
    pub fn new(name: &str, x: &Array<'py>) -> PyResult<Self> {
        let expected = dtype::<T>(x.py());
        let typed = x.cast::<PyArrayDyn<T>>().map_err(|_| {
            PyTypeError::new_err(format!(
                "{name}: expected dtype {expected}, as the other arrays of this call, got {}",
                x.dtype()
            ))
        })?;
        if !typed.is_c_contiguous() {
            return Err(PyValueError::new_err(format!("{name}: expected a C-contiguous array")));
        }
        let guard = typed
            .try_readonly()
            .map_err(|_| PyValueError::new_err(format!("{name}: the array is being written to")))?;
        guard.as_slice().map_err(|_| PyValueError::new_err(format!("{name}: expected an aligned array")))?;
        Ok(Self(guard))
    }

    /// An argument whose shape follows from the others, such as an upstream gradient.
    pub fn shaped(name: &str, x: &Array<'py>, shape: &[usize]) -> PyResult<Self> {
        if x.shape() != shape {
            let found = x.shape();
            return Err(PyValueError::new_err(format!("{name}: expected shape {shape:?}, got {found:?}")));
        }
        Self::new(name, x)
    }

    pub fn optional(name: &str, x: Option<&Array<'py>>) -> PyResult<Option<Self>> {
        x.map(|x| Self::new(name, x)).transpose()
    }

    pub fn slice(&self) -> &[T] {
        self.0.as_slice().expect("checked by new")
    }
}

/// Bytes of a cache line.
const LINE: usize = 64;

/// Elements of an array for which it matters where it begins, and more than any memory holds.
const LARGE: usize = 1 << 12;
const MOST: usize = 1 << 48;

/// A fresh array.
pub struct Output<'py, T: Element>(PyReadwriteArrayDyn<'py, T>);

impl<'py, T: Element> Output<'py, T> {
    /// numpy.empty, so that a failed allocation is Python's MemoryError. A large array begins on a cache line, as NumPy's do by chance
    /// only: vectors across two lines cost a product 2 to 6 %.
    pub fn empty(py: Python<'py>, shape: &[usize]) -> PyResult<Self> {
        static EMPTY: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        let empty = |shape: &[usize]| EMPTY.import(py, "numpy", "empty")?.call1((shape, dtype::<T>(py)));
        let line = LINE / size_of::<T>();
        let array = match shape.iter().try_fold(1usize, |len, &n| len.checked_mul(n)) {
            Some(len @ LARGE..MOST) => {
                let room = empty(&[len + line])?.cast_into::<PyArray1<T>>()?;
                let start = room.data().align_offset(LINE).min(line);
                room.get_item(PySlice::new(py, start as isize, (start + len) as isize, 1))?
                    .call_method1("reshape", (shape,))?
            }
            _ => empty(shape)?,
        };
        let array = array.cast_into::<PyArrayDyn<T>>()?;
        Ok(Self(array.try_readwrite().map_err(|error| PyRuntimeError::new_err(error.to_string()))?))
    }

    pub fn like(x: &Array<'py>) -> PyResult<Self> {
        Self::empty(x.py(), x.shape())
    }

    pub fn slice(&mut self) -> &mut [T] {
        self.0.as_slice_mut().expect("fresh arrays are contiguous")
    }

    pub fn array(self) -> Array<'py> {
        self.0.as_untyped().clone()
    }
}

/// An integer of a kernel's signature; one that does not fit (a negative size, say) is a ValueError.
#[derive(Clone, Copy)]
pub struct Int<T>(pub T);

impl<'a, 'py, T: FromPyObject<'a, 'py, Error = PyErr>> FromPyObject<'a, 'py> for Int<T> {
    type Error = PyErr;

    fn extract(value: Borrowed<'a, 'py, PyAny>) -> PyResult<Self> {
        value.extract().map(Int).map_err(|error: PyErr| {
            if error.is_instance_of::<PyOverflowError>(value.py()) {
                PyValueError::new_err(format!("{} is out of range", &*value))
            } else {
                error
            }
        })
    }
}

/// A size given as one integer for both axes or as (vertical, horizontal).
#[derive(Clone, Copy)]
pub struct Pair<T>(pub T, pub T);

impl<'a, 'py, T> FromPyObject<'a, 'py> for Pair<T>
where
    T: Copy + for<'b> FromPyObject<'b, 'py, Error = PyErr>,
{
    type Error = PyErr;

    fn extract(value: Borrowed<'a, 'py, PyAny>) -> PyResult<Self> {
        if value.is_instance_of::<PyTuple>() {
            value.extract().map(|(Int(vertical), Int(horizontal))| Pair(vertical, horizontal))
        } else {
            value.extract().map(|Int(both)| Pair(both, both))
        }
    }
}

impl<T> From<Pair<T>> for (T, T) {
    fn from(pair: Pair<T>) -> Self {
        (pair.0, pair.1)
    }
}

/// Carries a kernel's error to the boundary, where `?` turns it into an exception.
pub struct Failure(PyErr);

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let text = error.to_string();
        Failure(match error {
            Error::Shape(_) => PyValueError::new_err(text),
            Error::OutOfMemory => PyMemoryError::new_err(text),
            Error::Interrupted | Error::Panic(_) => PyRuntimeError::new_err(text),
        })
    }
}

impl From<Failure> for PyErr {
    fn from(failure: Failure) -> Self {
        failure.0
    }
}

/// Result of a kernel's size check, as an exception.
pub fn checked<R>(result: Result<R, Error>) -> PyResult<R> {
    result.map_err(|error| Failure::from(error).into())
}

/// Runs a kernel with the interpreter lock released. A pending signal (Ctrl-C) stops it and is raised; a panic becomes RuntimeError.
pub fn call<R: Send>(py: Python<'_>, kernel: impl FnOnce(&Exec) -> Result<R, Error> + Send) -> PyResult<R> {
    let raised: Mutex<Option<PyErr>> = Mutex::new(None);
    let error = || raised.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let poll = paced(|| match Python::try_attach(|py| py.check_signals()) {
        Some(Err(signal)) => {
            *error() = Some(signal);
            true
        }
        _ => false,
    });
    let exec = Exec::new(settings::threads(), settings::level(), &poll);
    let result = py.detach(|| {
        catch_unwind(AssertUnwindSafe(|| kernel(&exec))).unwrap_or_else(|payload| Err(Error::Panic(message(payload))))
    });
    match error().take() {
        Some(signal) => Err(signal),
        None => checked(result),
    }
}
