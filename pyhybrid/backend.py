"""The one seam: which body of an operator runs, the readable NumPy one or the compiled one.

Nothing else in the package asks which backend is active. `use` chooses for a block of code, `set_threads` and `set_simd` set the
compiled kernels.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np

from pyhybrid import counting
from pyhybrid.arrays import check_array, check_size, compiled_dtype, plain
from pyhybrid.errors import BackendUnavailable, ConstraintError, describe

_core: Any
try:
    _core = importlib.import_module("pyhybrid._core")
except ModuleNotFoundError as missing:
    if missing.name != "pyhybrid._core":  # the core is there and misses something itself: that must be seen
        raise
    _core = None

__all__ = ["active", "available", "core", "kernel", "set_simd", "set_threads", "threads", "use"]

_choice: ContextVar[str] = ContextVar("pyhybrid_backend", default="auto")


def available() -> bool:
    """True if the compiled core is installed."""
    return _core is not None


def core() -> Any:
    """The compiled module; raises `BackendUnavailable` if it is absent."""
    if _core is None:
        raise BackendUnavailable(
            "the compiled core pyhybrid._core is not installed; build it with `pip install .` (needs Rust), or use the numpy backend"
        )
    return _core


def active() -> str:
    """The backend that runs float32 and float64 arrays here: "rust" or "numpy"."""
    return "numpy" if _core is None or _choice.get() == "numpy" else "rust"


class _Block(AbstractContextManager[None]):
    """A setting for one block. One that never saw its block changed nothing, and says so when it is thrown away."""

    def __init__(self, call: str, setting: AbstractContextManager[None]) -> None:
        self.call, self.setting, self.entered = call, setting, False

    def __enter__(self) -> None:
        self.entered = True
        self.setting.__enter__()

    def __exit__(self, *error: Any) -> bool | None:
        return self.setting.__exit__(*error)

    def __del__(self) -> None:
        if not self.entered:
            warnings.warn(f"{self.call} sets nothing by itself, only for a block: write `with {self.call}:`", stacklevel=2)


def _for_a_block(setting: Callable[[Any], Iterator[None]]) -> Callable[[Any], AbstractContextManager[None]]:
    manager = contextmanager(setting)

    @functools.wraps(setting)
    def make(value: Any) -> AbstractContextManager[None]:
        return _Block(f"backend.{setting.__name__}({value!r})", manager(value))

    return make


@_for_a_block
def use(name: str) -> Iterator[None]:
    """Run the block on "numpy", on "rust" (raises `BackendUnavailable` if absent) or "auto" (rust if installed)."""
    if name not in ("auto", "numpy", "rust"):
        raise ValueError(f'backend must be "auto", "numpy" or "rust"; got {name!r}')
    if name == "rust":
        core()
    token = _choice.set(name)
    try:
        yield
    finally:
        _choice.reset(token)


def set_threads(count: int) -> None:
    """Number of threads the compiled kernels use from now on in this process (>= 1); results do not depend on it."""
    if not isinstance(count, int) or isinstance(count, bool) or not 1 <= count <= 1024:
        raise ValueError(f"threads must be a whole number from 1 to 1024; got {count!r}")
    core().set_threads(count)


@_for_a_block
def threads(count: int) -> Iterator[None]:
    """`set_threads` for one block. The setting belongs to the process, not to the calling thread."""
    before = core().get_threads()
    set_threads(count)
    try:
        yield
    finally:
        core().set_threads(before)


def set_simd(level: str) -> None:
    """Vector instructions of the compiled kernels: one of `core().simd_levels()`."""
    if level not in core().simd_levels():
        raise ValueError(f"simd level must be one of {core().simd_levels()} on this machine; got {level!r}")
    core().set_simd(level)


def kernel(body: Callable[..., Any]) -> Any:
    """Pair `ops/NAME.py:forward` (or `backward`) with the compiled `NAME_forward` of the same meaning.

    The paired function checks the arguments, then runs one of the two bodies; `.reference` is always the NumPy body, and in a
    composite so are its parts. Its docstring is that of the module, where shapes, equations, constraints and source stand.
    """
    module = sys.modules[body.__module__]
    body.__doc__ = body.__doc__ or module.__doc__
    operator = module.__name__.rpartition(".")[2]
    compiled = getattr(_core, f"{operator}_{body.__name__}", None)
    bound_call = _forward if body.__name__ == "forward" else _backward
    call = functools.wraps(body)(bound_call(body, compiled, module, operator))

    @functools.wraps(body)
    def reference(*args: Any, **kwargs: Any) -> Any:
        with use("numpy"):
            return body(*args, **kwargs)

    call.reference = reference  # type: ignore[attr-defined]
    return call


def _forward(body: Callable[..., Any], compiled: Any, module: Any, operator: str) -> Callable[..., Any]:
    signature = inspect.signature(body)
    arrays = {p.name: p.default is None for p in signature.parameters.values() if p.kind is p.POSITIONAL_OR_KEYWORD}
    bind = _binder(signature)

    def forward(*args: Any, **kwargs: Any) -> Any:
        try:
            arguments = bind(args, kwargs)
        except TypeError as mismatch:
            raise TypeError(f"{operator}: {mismatch}; the call is forward{signature}") from None
        given = []
        for name, optional in arrays.items():
            if arguments[name] is None and optional:
                continue
            check_array(operator, name, arguments[name])
            given.append(arguments[name])
        try:
            shape = module.output_shape(**arguments)
        except ConstraintError:
            raise
        except (TypeError, ValueError) as wrong:    # an option of the wrong type or range, by its name alone
            raise type(wrong)(f"{operator}: {wrong}") from None
        if (note := counting.current.get()) is not None:
            note(counting.Call(operator, shape, module.macs(**arguments) if hasattr(module, "macs") else counting.Macs()))
            kept = module.Cache(*(arguments.get(field) for field in module.Cache._fields))
            return counting.placeholder(shape, given[0].dtype), kept
        check_size(operator, shape, max(a.dtype.itemsize for a in given))
        if compiled is None or active() == "numpy" or not compiled_dtype(given):
            return body(**arguments)
        y, *saved = compiled(*map(plain, arguments.values()))
        rest = iter(saved)
        return y, module.Cache(*(arguments[f] if f in arguments else next(rest) for f in module.Cache._fields))

    return forward


def _binder(signature: inspect.Signature) -> Callable[[tuple[Any, ...], dict[str, Any]], dict[str, Any]]:
    """What `signature.bind` with `apply_defaults` does, at a fifth of its time: all arguments by name, in the signature's order."""
    parameters = signature.parameters
    positional = [name for name, p in parameters.items() if p.kind is p.POSITIONAL_OR_KEYWORD]
    needed = {name for name, p in parameters.items() if p.default is p.empty}
    defaults = {name: p.default for name, p in parameters.items()}

    def bind(args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        given = {**dict(zip(positional, args, strict=False)), **kwargs}
        if len(given) < len(args) + len(kwargs) or not needed <= given.keys() <= defaults.keys():
            signature.bind(*args, **kwargs)     # raises, and says what is missing, unknown or given twice
        return defaults | given

    return bind


def _backward(body: Callable[..., Any], compiled: Any, module: Any, operator: str) -> Callable[..., Any]:
    def backward(dy: Any, cache: Any) -> Any:
        if not isinstance(cache, module.Cache):
            raise TypeError(f"{operator}: cache must be the Cache that {operator}.forward returned; got {describe(cache)}")
        check_array(operator, "dy", dy)
        shape = cotangent_shape(module, cache)
        if dy.shape != shape:
            raise ValueError(f"{operator}: dy must have the output's shape {shape}; got dy = {describe(dy)}")
        given = [dy, *(value for value in cache if isinstance(value, np.ndarray))]
        if compiled is None or active() == "numpy" or not compiled_dtype(given):
            return body(dy, cache)
        return module.Grads(*compiled(plain(dy), *map(plain, cache)))

    return backward


def cotangent_shape(module: Any, cache: Any) -> tuple[int, ...]:
    """Shape of the output that `cache` belongs to: from the operator's `dy_shape`, or its `output_shape` on the cached arguments."""
    if hasattr(module, "dy_shape"):
        return module.dy_shape(cache)
    return module.output_shape(**{name: getattr(cache, name) for name in _parameters(module.output_shape)})


@functools.cache
def _parameters(function: Callable[..., Any]) -> tuple[str, ...]:
    return tuple(inspect.signature(function).parameters)
