"""Step through a reference function: every assignment becomes a step, and the function needs no hook.

`record` calls the function under Python's tracing hook. The listing says to which statement each bytecode belongs;
when execution leaves a statement, the names it wrote are copied. The function that runs is the real one, so a recorded
value is a computed value.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterable
from types import CodeType, FrameType, MethodType
from typing import Any

from pyhybrid._listing import Listing, Statement, labelled, read
from pyhybrid._steps import Step, Trace, snapshot

__all__ = ["Step", "Trace", "record"]
_Hook = Callable[[FrameType, str, Any], Any]
_FACTS = ("shape", "ndim", "dtype")  # a line that reads only these of an array does not read the array


def record(function: Callable[..., Any], /, *args: Any, depth: int = 1, **kwargs: Any) -> Trace:
    """The steps of `function(*args, **kwargs)`; of a function paired with a kernel, the NumPy `.reference` runs.

    With `depth` > 1 the functions it calls that carry labels are stepped through too, that many levels deep; operators
    inside run on the numpy backend. Raises what the function raises; TypeError or ValueError if it is not a Python
    function or its source cannot be read.
    """
    from pyhybrid import backend  # inside: tracing a plain function needs no operator machinery at import

    owner = getattr(function, "__self__", None)
    function = inspect.unwrap(getattr(function, "reference", function))
    if inspect.isfunction(function) and owner is not None:      # a wrapped method: what it wraps has lost its layer
        function = MethodType(function, owner)
    code = getattr(function, "__code__", None)
    if code is None:
        raise TypeError(f"only a function written in Python can be traced; got {function!r}")
    read(code)  # a missing source must be told here, not inside the hook
    recorder = _Recorder(code, depth)
    before = sys.gettrace()  # a debugger or a coverage tool gets its hook back
    sys._getframe().f_trace_opcodes = True  # Python 3.12 wants one frame to have asked for bytecodes before `settrace`
    with backend.use("numpy"):
        sys.settrace(recorder.enter)
        try:
            result = function(*args, **kwargs)
        finally:
            sys.settrace(before)
    return Trace(recorder.steps, {recorder.phase: result})


class _Recorder:
    """The hook for functions that start; `open` counts those that are being recorded."""

    def __init__(self, code: CodeType, depth: int) -> None:
        self.code, self.depth, self.open = code, depth, 0
        self.phase = "backward" if code.co_name.startswith("backward") else "forward"
        self.steps: list[Step] = []

    def enter(self, frame: FrameType, event: str, arg: Any) -> _Hook | None:
        code = frame.f_code
        wanted = code is self.code if not self.open else self.open < self.depth and labelled(code)
        if not wanted:
            return None
        self.open += 1
        return _Run(self, frame, read(code)).follow


class _Run:
    """One call of a recorded function: follows its bytecodes and adds a step whenever a statement is finished."""

    def __init__(self, recorder: _Recorder, frame: FrameType, listing: Listing) -> None:
        self.recorder, self.listing, self.depth = recorder, listing, recorder.open
        self.seen: dict[str, Any] = {}  # the latest copy under each name, shared by steps while it stays the same
        self.inputs: dict[str, Any] = {}
        self.current: Statement | None = listing.head
        self.leaving: Statement | None = None  # a return whose `finally` or `with` still runs
        self._finish(frame)
        self.current = None

    def follow(self, frame: FrameType, event: str, arg: Any) -> _Hook:
        frame.f_trace_opcodes = True  # here: Python 3.13 does not heed it in the event that starts the function
        if event == "exception":
            self.current = None  # unfinished; if it handles the exception itself, its next bytecode brings it back
        elif event == "return":
            self._finish(frame)
            if self.leaving and (self.current or arg is not None):
                names, parts = self.leaving.writes, arg if len(self.leaving.writes) > 1 else [arg]
                self._add(frame, self.leaving, dict(zip(names, map(snapshot, parts), strict=True)))
            self.recorder.open -= 1
        elif (owner := self.listing.owners[frame.f_lasti // 2]) is not self.current:
            self._finish(frame)
            self.current = owner
            self.inputs = self._copies(frame, owner.reads) if owner and owner.kind else {}
        return self.follow

    def _finish(self, frame: FrameType) -> None:
        if self.current and self.current.kind == "return":
            self.leaving = self.current
        elif self.current and self.current.kind:
            self._add(frame, self.current, self._copies(frame, ((name, None) for name in self.current.writes)))

    def _add(self, frame: FrameType, s: Statement, values: dict[str, Any]) -> None:
        if values:
            loops = self._copies(frame, ((name, None) for name in s.loops))
            what = (s.kind, s.label, s.lineno, s.end_lineno, s.source, tuple(values), tuple(values.values()))
            where = (self.listing, self.recorder.phase, self.depth)
            self.recorder.steps.append(Step(*what, self.inputs, loops, *where))

    def _copies(self, frame: FrameType, names: Iterable[tuple[str, str | None]]) -> dict[str, Any]:
        """Copies of these locals (a NamedTuple's field, an array's shape), without functions and unbound names."""
        found: dict[str, Any] = {}
        for name, attribute in names:
            value = frame.f_locals.get(name, print)
            if attribute and attribute in getattr(value, "_fields", _FACTS) and hasattr(value, attribute):
                name, value = f"{name}.{attribute}", getattr(value, attribute)
            if not callable(value):
                found[name] = self.seen[name] = snapshot(value, self.seen.get(name))
        return found
