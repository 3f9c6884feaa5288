"""What every operator must have, and which module may import which. New operator? Run this and do what it says.

An operator is `pyhybrid/ops/NAME.py`. Around it belong the naive loops, the cases, the tests, the kernel and its Rust
file; the same labels (F1), (B1), (C1) stand in its docstring, at its lines of code, in the Rust kernel and in the names
of the tests.
"""

import ast
import importlib
import inspect
import io
import re
import sys
import tokenize
from pathlib import Path

import naive
import numpy as np
import pytest

import pyhybrid.ops
from pyhybrid import backend
from pyhybrid.check import cases

PACKAGE = Path(pyhybrid.__file__).parent
ROOT = PACKAGE.parent
TESTS = Path(__file__).parent
KERNELS = ROOT / "rust" / "kernels" / "src"
OPERATORS = sorted(path.stem for path in (PACKAGE / "ops").glob("*.py") if not path.stem.startswith("_"))
WITHOUT_KERNEL: dict[str, str] = {}  # operator -> why it deliberately has no compiled kernel
LONGEST_OPERATOR = 250  # lines


# Labels.


def defined_labels(docstring, kinds="FBC"):
    """Labels that a docstring defines: at the start of a line or after a gap, not inside a sentence."""
    found = re.findall(rf"(?m)(?:^[ \t]*(?:[A-Z]\w*[ \t]+)?|[ \t]{{2,}})\(([{kinds}]\d+)\)", docstring or "")
    return sorted(set(found), key=lambda label: (label[0], int(label[1:])))


def comment_labels(source):
    """Labels (F…) and (B…) in the comments of a Python source."""
    comments = [t.string for t in tokenize.generate_tokens(io.StringIO(source).readline) if t.type == tokenize.COMMENT]
    return {label for comment in comments for label in re.findall(r"\(([FB]\d+)\)", comment)}


def required_labels(source):
    """Labels that `require` is called with."""
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    calls = [node for node in calls if isinstance(node.func, ast.Name) and node.func.id == "require"]
    return {node.args[1].value for node in calls if len(node.args) > 1 and isinstance(node.args[1], ast.Constant)}


def rust_labels(source):
    """Labels (F…) and (B…) anywhere in the comments of a Rust source."""
    return set(re.findall(r"\(([FB]\d+)\)", "\n".join(re.findall(r"//.*", source))))


def test_labels_are_found_where_they_are_defined():
    docstring = """Title.

    Forward      (F1) y = x    (F2) z = y, as in (F1)
                 (F3) w, which needs (C9) and (B7)
    Constraints  (C1) x is finite
    """
    assert defined_labels(docstring) == ["C1", "F1", "F2", "F3"]
    assert comment_labels("a = 1  # (F1) (F2)\nb = '# (B1)'\n") == {"F1", "F2"}
    assert required_labels("require(a, 'C1', x=x)\nother(a, 'C2')") == {"C1"}
    assert rust_labels("//! (F1)\nlet a = 1; // (B2)\n") == {"F1", "B2"}


# Operators.


def missing(name):
    """What an operator lacks, one sentence each."""
    module = importlib.import_module(f"pyhybrid.ops.{name}")
    source = Path(module.__file__).read_text(encoding="utf-8")
    file = f"pyhybrid/ops/{name}.py"
    parts = [part for part in ("Cache", "Grads", "output_shape", "forward", "backward") if not hasattr(module, part)]
    yield from (f"{file} defines no {part}" for part in parts)
    if parts:
        return
    yield from _signatures(module, file)
    yield from _values(module, name)

    yield from _docstring(module, file)
    labels, in_code = defined_labels(module.__doc__), comment_labels(source)
    equations = {label for label in labels if label[0] in "FB"}
    for kind, what in (("F", "Forward"), ("B", "Backward")):
        if not any(label[0] == kind for label in labels):
            yield f"the docstring of {file} has no ({kind}1): give the equations in lines that start with {what}"
    yield from (
        f"({label}) of the docstring of {file} stands at no line of code" for label in sorted(equations - in_code)
    )
    yield from (
        f"a line of {file} says ({label}), which its docstring does not define" for label in sorted(in_code - equations)
    )
    constraints, required = {label for label in labels if label[0] == "C"}, required_labels(source)
    yield from (f"({label}) of the docstring of {file} is required nowhere" for label in sorted(constraints - required))
    yield from (
        f'{file} calls require(..., "{label}"), which its docstring does not define'
        for label in sorted(required - constraints)
    )
    if (lines := source.count("\n")) > LONGEST_OPERATOR:
        yield f"{file} has {lines} lines; at most {LONGEST_OPERATOR} can be read as one page: split it"

    if name not in pyhybrid.ops.__all__:
        yield f"pyhybrid/ops/__init__.py does not list {name}"
    if name not in cases.CASES or name not in cases.CORNERS:
        yield f"pyhybrid/check/cases.py has no generator of cases, or no corners, for {name}"
    yield from (f"tests/naive.py has no {loops}" for loops in (name, f"{name}_backward") if not hasattr(naive, loops))
    yield from _tests(name, constraints)
    yield from _kernels(name, equations)


def _docstring(module, file):
    text = module.__doc__ or ""
    parts = {"Shapes": r"^Shapes {2,}(?:(?!^\w)[\s\S])*->", "Smooth": r"^Smooth {2,}\S", "Source": r"(^| {2,})Source:? +\S"}
    for what, pattern in parts.items():
        if not re.search(pattern, text, re.MULTILINE):
            yield f"the docstring of {file} has no {what}"
    for function in (module.forward, module.backward):
        if function.__doc__ != text:
            yield f"{function.__name__} of {file} has a docstring of its own: shapes, equations and source belong in that of the module"


def _signatures(module, file):
    parameters = inspect.signature(module.forward).parameters.values()
    arrays = [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    config = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY]
    if list(module.Grads._fields) != arrays:
        yield f"Grads of {file} has fields {list(module.Grads._fields)}; it must have {arrays}, the arrays of forward"
    kept = [field for field in module.Cache._fields if field in arrays + config]
    if kept != [name for name in arrays + config if name in kept]:
        yield f"Cache of {file} keeps arguments in the order {kept}, not in that of forward"
    if list(module.Cache._fields[: len(kept)]) != kept:
        yield f"Cache of {file} must name the arguments first, then what it saves; it has {list(module.Cache._fields)}"
    if list(inspect.signature(module.output_shape).parameters) != arrays + config:
        yield f"output_shape of {file} must take the arguments of forward: {arrays + config}"
    if list(inspect.signature(module.backward).parameters) != ["dy", "cache"]:
        yield f"backward of {file} must be backward(dy, cache)"
    for function in (module.forward, module.backward):
        if not hasattr(function, "reference"):
            yield f"{function.__name__} of {file} is not decorated with @kernel"


def _values(module, name):
    if name not in cases.CASES:
        return
    case = cases.seeded(name, 2)[0]
    given = {**case.arguments, **case.config}
    for choice in ("numpy", "rust") if backend.available() else ("numpy",):
        with backend.use(choice):
            try:
                _, cache = case.call(module.forward)
            except Exception as error:  # a complaint like any other
                yield f"{name} raises {type(error).__name__} on the {choice} backend for {case!r}: {error}"
                continue
        for field, value in zip(cache._fields, cache, strict=True):
            if field in given and value is not given[field]:
                yield f"on the {choice} backend Cache.{field} of {name} is not the argument {field}, but {value!r}"


def _tests(name, constraints):
    path = TESTS / "ops" / f"test_{name}.py"
    if not path.exists():
        yield f"there is no tests/ops/test_{name}.py"
        return
    text = path.read_text(encoding="utf-8")
    for label in sorted(constraints):
        if not re.search(rf"def test_{label.lower()}_", text):
            yield f"tests/ops/test_{name}.py has no test of ({label}): write test_{label.lower()}_…"


def _kernels(name, equations):
    if name in WITHOUT_KERNEL:
        return
    if backend.available():
        for kernel in (f"{name}_forward", f"{name}_backward"):
            if not hasattr(backend.core(), kernel):
                yield f"pyhybrid._core has no {kernel}; write it, or say in WITHOUT_KERNEL why there is none"
    if not KERNELS.is_dir():
        return
    path = KERNELS / f"{name}.rs"
    if not path.exists():
        yield f"there is no rust/kernels/src/{name}.rs"
        return
    labels = rust_labels(path.read_text(encoding="utf-8"))
    yield from (f"rust/kernels/src/{name}.rs does not mention ({label})" for label in sorted(equations - labels))
    for label in sorted(labels - equations):
        yield f"rust/kernels/src/{name}.rs says ({label}), which pyhybrid/ops/{name}.py does not define"


@pytest.mark.parametrize("name", OPERATORS)
def test_operator_is_complete(name):
    if lacks := list(missing(name)):
        pytest.fail(f"{name} is not complete:\n" + "\n".join(f"  - {sentence}" for sentence in lacks), pytrace=False)


def test_nothing_is_listed_that_does_not_exist():
    assert sorted(pyhybrid.ops.__all__) == OPERATORS
    assert set(cases.CASES) == set(cases.CORNERS) <= set(OPERATORS)
    assert set(WITHOUT_KERNEL) <= set(OPERATORS)
    stale = [
        p.name for p in (TESTS / "ops").glob("test_*.py") if p.stem.removeprefix("test_") not in [*OPERATORS, "sizes"]
    ]
    assert not stale, f"tests of operators that are gone: {stale}"


# Imports.

TOOLS = {"check", "trace", "_listing", "_steps", "stepper", "pictures"}  # take functions as values, know no operator
LAYERS = [
    {"errors"},
    {"arrays"},
    {"counting"},
    {"backend"},
    {"ops"},
    {"nn"},
    {"explain"},
    {"papers"},
    {"proofs", "conformance", "interop", "bench", "examples"},
    {"train"},
    {"commands"},
    {"cli"},
    {"__main__"},
]
BARE = {"errors", "arrays", "counting", "backend", *TOOLS}
ANYBODYS = {"pyhybrid.commands.console"}  # tables and colours, without operators


def imported(tree, *, everywhere):
    """(module, line) for every import; only those that run when the module is imported, unless `everywhere`."""
    nodes = list(ast.walk(tree)) if everywhere else list(_at_import(tree))
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from ((f"{node.module}.{alias.name}", node.lineno) for alias in node.names)


def _at_import(node):
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        yield child
        yield from _at_import(child)


def sources():
    for path in sorted(PACKAGE.rglob("*.py")):
        relative = path.relative_to(PACKAGE)
        room = relative.parts[0].removesuffix(".py")
        yield relative.as_posix(), room, ast.parse(path.read_text(encoding="utf-8"))


def rank(room):
    return next((n for n, layer in enumerate(LAYERS) if room in layer), None)


def test_every_module_has_its_place():
    known = TOOLS.union(*LAYERS) | {"__init__"}
    strangers = sorted({room for _, room, _ in sources()} - known)
    assert not strangers, f"say in LAYERS or TOOLS of {Path(__file__).name} where these belong: {strangers}"


def test_imports_point_down():
    """backend <- ops <- nn <- papers <- proofs, conformance <- train <- commands <- cli; check and trace import no operator."""
    wrong = []
    for file, room, tree in sources():
        for module, line in imported(tree, everywhere=True):
            if not module.startswith("pyhybrid.") or any(module.startswith(shared) for shared in ANYBODYS):
                continue
            target = module.split(".")[1]
            if target == room or (rank(target) is None and target not in TOOLS):
                continue
            if room in TOOLS:
                allowed = target in BARE
            elif target in TOOLS:
                allowed = rank(room) is None or rank(room) >= rank("proofs")
            else:
                allowed = rank(room) is None or rank(target) < rank(room)
            if not allowed:
                wrong.append(f"pyhybrid/{file}:{line} imports {module}")
    if wrong:
        pytest.fail("imports that point up:\n" + "\n".join(wrong), pytrace=False)


def test_importing_the_package_needs_numpy_alone():
    """Everything else is imported inside the function that needs it."""
    wrong = []
    for file, _, tree in sources():
        for module, line in imported(tree, everywhere=False):
            top = module.split(".")[0]
            if top not in sys.stdlib_module_names and top not in ("numpy", "pyhybrid"):
                wrong.append(f"pyhybrid/{file}:{line} imports {module} when it is imported")
    assert not wrong, "\n".join(wrong)


def test_only_the_seam_asks_which_backend_is_active():
    for room in ("ops", "nn", "papers"):
        for path in (PACKAGE / room).rglob("*.py"):
            text = path.read_text(encoding="utf-8")
            assert "active()" not in text and "available()" not in text, (
                f"{path.relative_to(ROOT)} asks for the backend"
            )


def test_operators_do_not_keep_state_or_draw_random_numbers():
    for name in OPERATORS:
        text = (PACKAGE / "ops" / f"{name}.py").read_text(encoding="utf-8")
        for word in (r"^\s*global \w", r"np\.random", "lru_cache"):
            assert not re.search(word, text, flags=re.MULTILINE), f"pyhybrid/ops/{name}.py uses {word}"


def test_the_tolerances_are_in_the_table_only():
    """Outside the judges' own tests, a test may state the noise of an input, never a tolerance of its own."""
    wrong = []
    for path in sorted((TESTS / "ops").glob("test_*.py")):
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if re.search(r"allclose|approx\(|rtol|atol", line):
                wrong.append(f"{path.name}:{number}")
    assert not wrong, f"use check.assert_close: {wrong}"


def test_every_operator_answers_a_call_on_numbers():
    """The smallest case of each runs forward and backward: what a newcomer tries first."""
    for name in OPERATORS:
        module = importlib.import_module(f"pyhybrid.ops.{name}")
        case = cases.seeded(name, 2)[0]
        y, cache = case.call(module.forward)
        grads = module.backward(case.cotangent(y.shape), cache)
        assert all(np.isfinite(g).all() for g in grads if g is not None), name
