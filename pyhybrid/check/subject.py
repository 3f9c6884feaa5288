"""An operator together with a case: what every law starts from, computed once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from pyhybrid import backend
from pyhybrid.check.case import Case
from pyhybrid.check.close import Measure, bound, measure, rounded
from pyhybrid.check.gradient import along, analytic
from pyhybrid.check.stochastic import stochastic

__all__ = ["Result", "Run", "Subject"]

Array = np.ndarray
_EPS = 2.0**-30  # perturbation from which the noise is measured: far above float64's rounding, far below curvature


@dataclass(frozen=True)
class Result:
    """What one law found: the law, what it looked at, the largest difference, its bound, and a line to print.

    `relative` is the difference over the largest expected value.
    """

    law: str
    what: str
    measure: float
    bound: float
    passed: bool
    detail: str
    relative: float = 0.0

    def __str__(self) -> str:
        return f"{'ok  ' if self.passed else 'FAIL'} {self.law}: {self.detail}"


@dataclass(frozen=True)
class Run:
    """One pass forward and backward: the arrays it made, by name ("y", "cache.lse", "dx"), and the cache."""

    y: Any
    cache: Any
    dy: Array
    grads: Any

    @property
    def saved(self) -> dict[str, Array]:
        """Saved arrays of the cache that are no arguments."""
        saved = {name: value for name, value in fields(self.cache).items() if isinstance(value, np.ndarray)}
        return {f"cache.{name}": value for name, value in saved.items() if name not in fields(self.grads)}

    @property
    def named_grads(self) -> dict[str, Array]:
        """The gradients that there are, by "d" and the argument's name."""
        return {f"d{name}": value for name, value in fields(self.grads).items() if value is not None}

    @property
    def outputs(self) -> dict[str, Array]:
        """All arrays that the pass made."""
        return {"y": self.y, **self.saved, **self.named_grads}


@dataclass(frozen=True)
class Subject:
    """`operator` has forward, backward, output_shape, Cache and Grads: an operator module or anything like one."""

    operator: Any
    case: Case
    oracle: Callable[..., Any] | None = None
    oracle_backward: Callable[..., Any] | None = None
    linear: Sequence[str] = ()
    exact: bool = False
    step: str | None = None
    tiny: int = 24  # full Jacobians if an argument and the output have at most this many entries

    @property
    def name(self) -> str:
        """Name of the operator, without its package."""
        return str(getattr(self.operator, "__name__", "operator")).rpartition(".")[2]

    @cached_property
    def backends(self) -> list[str]:
        """ "numpy", and "rust" if this operator has compiled kernels."""
        compiled = hasattr(self.operator.forward, "reference") and backend.available()
        return ["numpy", "rust"] if compiled and hasattr(backend.core(), f"{self.name}_forward") else ["numpy"]

    @cached_property
    def dy(self) -> Array:
        """The case's gradient of the output."""
        return self.case.cotangent(self.base_y.shape)

    @cached_property
    def base_y(self) -> Array:
        """The output on the numpy backend."""
        with on("numpy"):
            return np.array(self.case.copy().call(self.operator.forward)[0])

    @cached_property
    def base(self) -> Run:
        """The float64 run on the numpy backend."""
        return self.run()

    def run(
        self,
        case: Case | None = None,
        dy: Array | None = None,
        *,
        forward: str = "numpy",
        backward: str = "",
        eps: float = 0.0,
    ) -> Run:
        """Forward on one backend, backward on another (or the same); with `eps`, all inputs move by that fraction."""
        case, dy = (self.case if case is None else case).copy(), (self.dy if dy is None else dy).copy()
        random = case.random(9, int(eps > 0))
        if eps:
            case = case.map(lambda a: rounded(a, random, eps))
            dy = rounded(dy, random, eps)
        with on(forward):
            y, cache = case.call(self.operator.forward)
        if eps:
            cache = type(cache)(*(rounded(value, random, eps) for value in cache))
        with on(backward or forward):
            return Run(y, cache, dy, self.pull(dy, cache))

    def run_stochastic(self, turn: int = 0) -> Run:
        """A run of the NumPy bodies in stochastic arithmetic; the base run if the operator does not take such arrays."""
        random = self.case.random(10, turn)
        case = self.case.copy().map(lambda a: stochastic(a, random, _EPS))
        try:
            with on("numpy"):
                y, cache = case.call(self.operator.forward)
                grads = self.pull(stochastic(self.dy.copy(), random, _EPS), cache)
        except Exception:       # an operator under test may insist on plain arrays; then its noise is that of its inputs
            return self.base
        return Run(np.asarray(y), cache, self.dy, grads)

    def pull(self, dy: Array, cache: Any) -> Any:
        """The operator's gradients; none if it has no backward."""
        return () if self.operator.backward is None else self.operator.backward(dy, cache)

    def step_for(self, name: str) -> str:
        """How to differentiate along an argument: as asked, or by complex step if the operator is found analytic."""
        if self.step is None and name not in self._steps:
            a = self.case.arrays[name]
            v = self.case.random(7).standard_normal(a.shape) * (np.abs(a).max() or 1.0)
            with on("numpy"):
                fit = analytic(along(self.operator.forward, self.case, name), a, v)
            self._steps[name] = "complex" if fit else "central"
        return self.step or self._steps[name]

    @cached_property
    def _steps(self) -> dict[str, str]:
        return {}

    @cached_property
    def noise(self) -> dict[str, float]:
        """For each output, how much it moves per unit of relative change of the inputs; times eps, by rounding them.

        For gradients and saved values, whose terms may cancel, also per unit of change of every intermediate result. Often one decides,
        a mean that all terms share, say; a single draw of it may be next to nothing, but hardly all of several.
        """
        moved = self.run(eps=_EPS).outputs
        again = self.run(self.case.map(lambda a: rounded(a, self.case.random(8), _EPS))).outputs
        inside = [{name: value for name, value in self.run_stochastic(turn).outputs.items() if name != "y"} for turn in range(3)]
        table = {}
        with np.errstate(all="ignore"):
            for name, centre in self.base.outputs.items():
                others = [run[name] for run in (moved, again, *inside) if name in run and run[name].shape == centre.shape]
                changes = [np.abs(other - centre) for other in others]
                finite = [float(c[np.isfinite(c)].max(initial=0.0)) for c in changes]
                table[name] = max(finite, default=0.0) / _EPS
        return table

    def limit(self, name: str, expected: Any, *, dtype: Any = np.float64, exact: bool | None = None) -> float:
        """The allowed difference of output `name`: 0 if exact, else by the tolerance table and the noise."""
        if self.exact if exact is None else exact:
            return 0.0
        kind = "gradient" if name.startswith("d") else "value"
        return bound(expected, kind, noise=self.noise.get(name, 0.0) * float(np.finfo(dtype).eps) / 2, dtype=dtype)

    def compare(self, law: str, name: str, got: Any, expected: Any, limit: float, where: str = "") -> Result:
        """A result from two arrays."""
        return verdict(law, name, measure(got, expected), limit, where)


def verdict(law: str, name: str, found: Measure, limit: float, where: str = "") -> Result:
    """A result from a measure."""
    return Result(
        law, name, found.absolute, limit, found.within(limit), found.text(f"{name}{where}", limit), found.relative
    )


def holds(law: str, name: str, fact: Any, detail: str) -> Result:
    """A result that is yes or no."""
    missed = 0.0 if fact else np.inf
    return Result(law, name, missed, 0.0, bool(fact), detail, missed)


def fields(record: Any) -> dict[str, Any]:
    """Name -> value of a NamedTuple."""
    return record._asdict() if hasattr(record, "_asdict") else dict(record) if isinstance(record, dict) else {}


def kind(value: Any) -> str:
    """What to call a value in a message: dtype and shape of an array, otherwise its repr."""
    return f"{value.dtype} {value.shape}" if isinstance(value, np.ndarray) else repr(value)


@contextmanager
def on(name: str) -> Iterator[None]:
    """Run on that backend, without NumPy's warnings about the infinities that a case may hold."""
    with backend.use(name), np.errstate(all="ignore"):
        yield
