"""Every public name says what it is: modules, functions, classes and their methods; layers say what they make of which shapes.

Public is what `__all__` lists or, without one, what has no underscore. Some names are explained once, where their contract stands:
the parts of an operator in its module's docstring and that of `pyhybrid.ops`, a command's `configure` and `run` in that of
`pyhybrid.commands`, and the expressions of a proof in the texts of its steps. A `Cache` has fields named after what it keeps.
"""

import importlib
import inspect
import pkgutil
import re
from typing import NamedTuple

import pyhybrid
from pyhybrid.nn import Conv2d, Module
from pyhybrid.proofs import STATEMENTS

MODULES = [
    found.name for found in pkgutil.walk_packages(pyhybrid.__path__, "pyhybrid.")
    if not any(part.startswith("_") for part in found.name.split("."))
]
CONTRACT = {"ops": {"Cache", "Grads", "output_shape"}, "commands": {"configure", "run"}}      # forward and backward get theirs at the seam


def public(module):
    """Names and values that a module defines for others."""
    room = module.__name__.split(".")[1]
    if room == "proofs" and module.__name__.rpartition(".")[2] in STATEMENTS:
        return {}
    known = CONTRACT.get(room, {"Cache"})
    names = getattr(module, "__all__", [name for name in vars(module) if not name.startswith("_")])
    values = {name: getattr(module, name) for name in names if name not in known}
    return {name: value for name, value in values.items()
            if (inspect.isclass(value) or inspect.isfunction(value)) and value.__module__ == module.__name__}


def undocumented(module):
    """The public names of a module that no docstring explains."""
    if not (module.__doc__ or "").strip():
        yield module.__name__
    for name, value in public(module).items():
        if not own_docstring(value):
            yield f"{module.__name__}.{name}"
        elif inspect.isclass(value):
            yield from (f"{module.__name__}.{name}.{method}" for method in methods_without(value))


def own_docstring(value):
    """The docstring of a function or class; that which a dataclass or a named tuple makes of its fields does not count."""
    text = (value.__doc__ or "").strip()
    made = inspect.isclass(value) and re.fullmatch(rf"{value.__name__}\(.*\)( -> None)?", text, re.DOTALL)
    return "" if made else text


def methods_without(kind):
    """Public methods and properties without a docstring, an inherited one, or a word in that of their class."""
    for name, value in vars(kind).items():
        if name.startswith("_") or not (inspect.isfunction(value) or isinstance(value, property | classmethod | staticmethod)):
            continue
        if not inspect.getdoc(getattr(kind, name)) and f"`{name}" not in own_docstring(kind):
            yield name


def test_every_public_name_has_a_docstring():
    found = [name for module in MODULES for name in undocumented(importlib.import_module(module))]
    assert len(MODULES) > 200 and found == []


def layers():
    modules = map(importlib.import_module, MODULES)
    found = {value for module in modules for value in public(module).values() if inspect.isclass(value) and issubclass(value, Module)}
    return sorted(found - {Module}, key=lambda kind: (kind.__module__, kind.__name__))


def shapeless(layer):
    """True unless the first paragraph says which shape becomes which."""
    text = own_docstring(layer).partition("\n\n")[0]
    return "->" not in text or not re.search(r"\([^()]*[A-Z.…][^()]*\)|any shape|shapes are those", text)


def test_every_layer_says_what_it_makes_of_which_shape():
    assert len(layers()) > 40
    silent = [f"{layer.__module__}.{layer.__name__}" for layer in layers() if shapeless(layer)]
    assert not silent, f"say x (…) -> y (…): {silent}"


def test_what_lacks_a_docstring_is_found():
    class Silent:
        """Says what `told` is."""

        def told(self):
            return 0

        def untold(self):
            return 0

    assert list(methods_without(Silent)) == ["untold"]

    class Pair(NamedTuple):
        a: int
        b: int

    assert not own_docstring(Pair) and own_docstring(Silent)
    assert shapeless(Silent) and not shapeless(Conv2d)
    silent = type(pyhybrid)("pyhybrid.silent")
    silent.f = lambda: 0
    silent.f.__module__ = silent.__name__
    assert list(undocumented(silent)) == ["pyhybrid.silent", "pyhybrid.silent.f"]
