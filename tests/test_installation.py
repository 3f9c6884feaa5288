"""Rows 22 and 25 of the fault table, and what the sources promise: sub-interpreters, a clone without the core, little unsafe code."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import pyhybrid
from pyhybrid import backend

PACKAGE = Path(pyhybrid.__file__).parent
RUST = PACKAGE.parent / "rust"
needs_core = pytest.mark.skipif(not backend.available(), reason="the compiled core is not installed")
needs_sources = pytest.mark.skipif(not RUST.is_dir(), reason="the Rust sources are not here")


def python(program, *options, path=None, **environment):
    """Run Python text (or, with options, a command) in a new interpreter that finds pyhybrid in `path`."""
    env = {**os.environ, "PYTHONPATH": str(path or PACKAGE.parent), "RUST_BACKTRACE": "0", **environment}
    command = [sys.executable, *options] if options else [sys.executable, "-X", "faulthandler", "-c", program]
    return subprocess.run(command, cwd=path or PACKAGE.parent, env=env, capture_output=True, text=True, timeout=120, check=False)


def succeeds(done):
    assert done.returncode == 0, f"status {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return done.stdout


# Row 22: sub-interpreters.

SUB = """
try:
    import _interpreters as interpreters
    create = lambda: interpreters.create("legacy")
except ImportError:
    import _xxsubinterpreters as interpreters
    create = lambda: interpreters.create(isolated=False)
{before}
inside = '''
import warnings
warnings.simplefilter("ignore")
try:
    import {module}
except ImportError as error:
    print("ImportError:", error)
else:
    print("imported")
'''
for _ in range(2):
    number = create()
    failed = interpreters.run_string(number, inside)
    if failed:
        print("raised:", failed)
    interpreters.destroy(number)
{after}
print("the first interpreter lives")
"""


@needs_core
@pytest.mark.parametrize("module", ["pyhybrid._core", "pyhybrid.ops"])
def test_row_22_a_second_interpreter_is_refused_with_an_import_error(module):
    """What one interpreter has made must not be used by another; the first goes on as before."""
    after = "import numpy as np; from pyhybrid.ops import shift; assert shift.forward(np.ones((2, 2)), offset=1)[0].sum() == 1"
    said = succeeds(python(SUB.format(before="import pyhybrid._core, pyhybrid.ops", module=module, after=after)))
    assert said.count("ImportError:") == 2 and said.endswith("the first interpreter lives\n"), said


@needs_core
def test_row_22_importing_in_a_second_interpreter_first_is_no_crash():
    said = succeeds(python(SUB.format(before="", module="pyhybrid._core", after="")))
    assert said.endswith("the first interpreter lives\n") and "raised" not in said, said


# Row 25: without the compiled core.


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """The package as a reader's clone has it: sources, no compiled module."""
    root = tmp_path_factory.mktemp("clone")
    shutil.copytree(PACKAGE, root / "pyhybrid", ignore=shutil.ignore_patterns("*.so", "*.pyd", "__pycache__"))
    return root


EVERY_OPERATOR = """
import sys
before = set(sys.modules)
import importlib
import numpy as np
import pyhybrid.ops
from pyhybrid import backend
from pyhybrid.examples import EXAMPLES, example
assert pyhybrid.__file__.startswith({root!r}), pyhybrid.__file__
assert not backend.available() and backend.active() == "numpy"
assert set(EXAMPLES) == set(pyhybrid.ops.__all__)
for name in pyhybrid.ops.__all__:
    module = importlib.import_module(f"pyhybrid.ops.{{name}}")
    arrays, config = example(name)
    for dtype in (np.float32, np.float64):
        given = {{n: a.astype(dtype) for n, a in arrays.items()}}
        y, cache = module.forward(**given, **config)
        grads = module.backward(np.ones_like(y), cache)
        assert y.shape == module.output_shape(**given, **config) and y.dtype == dtype and np.isfinite(y).all()
        assert all(getattr(grads, n).shape == a.shape for n, a in given.items())
loaded = {{name.partition(".")[0] for name in set(sys.modules) - before if getattr(sys.modules[name], "__spec__", None)}}
strangers = sorted(loaded - set(sys.stdlib_module_names) - {{"numpy", "pyhybrid"}})
print("strangers", strangers)
"""


def test_row_25_a_clone_runs_every_operator_with_numpy_alone(clone):
    assert succeeds(python(EVERY_OPERATOR.format(root=str(clone)), path=clone)) == "strangers []\n"


def test_row_25_rust_is_refused_with_how_to_get_it(clone):
    program = """
from pyhybrid import backend
for ask in (lambda: backend.use("rust").__enter__(), backend.core, lambda: backend.set_threads(1), lambda: backend.set_simd("avx2")):
    try:
        ask()
    except backend.BackendUnavailable as error:
        print(error)
with backend.use("auto"):
    print(backend.active())
"""
    said = succeeds(python(program, path=clone)).splitlines()
    assert len(said) == 5 and said[4] == "numpy"
    assert all("pyhybrid._core is not installed" in line and "pip install" in line for line in said[:4])


def test_row_25_info_says_that_the_core_is_absent_and_how_to_build_it(clone):
    said = succeeds(python("", "-m", "pyhybrid", "info", path=clone))
    assert re.search(r"compiled core +absent", said) and re.search(r"backend +numpy", said)
    assert said.count("The compiled core is absent") == 1 and "pip install" in said


COMMANDS_WITH_NUMPY_ALONE = """
import contextlib, io, sys
class Nothing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] not in {"numpy", "pyhybrid", *sys.stdlib_module_names}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Nothing())
import importlib.util
importlib.util.find_spec = lambda name: None
from pyhybrid.cli import main
for line in sys.stdin.read().splitlines():
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        status = main(line.split())
    print(line, "|", status, "|", said.getvalue().replace("\\n", " ")[-200:])
"""


def test_row_25_without_extras_a_command_works_or_says_what_to_install(clone, tmp_path):
    """Outside of any clone, with NumPy and nothing else."""
    works = ["info", "models", "card acmix", "conventions", "step softmax", "prove softmax_ignores_a_constant"]
    extras = {"tour --fast": "pictures", "gradcam das_resnet18": "pictures", "lab": "tutorials", "train acmix_tiny": "train"}
    environment = {**os.environ, "PYTHONPATH": str(clone)}
    command = [sys.executable, "-c", COMMANDS_WITH_NUMPY_ALONE]
    lines = "\n".join([*works, *extras])
    done = subprocess.run(command, cwd=tmp_path, env=environment, input=lines, capture_output=True, text=True, timeout=120, check=False)
    said = dict(line.split(" | ", 1) for line in succeeds(done).splitlines())
    assert [*said] == [*works, *extras]
    assert all(said[name].startswith("0 | ") for name in works), said
    for name, extra in extras.items():
        assert said[name].startswith("2 | error: ") and f"pip install 'pyhybrid[{extra}]'" in said[name], said[name]
    assert not list(tmp_path.iterdir()), "a command that cannot work leaves files behind"


@needs_core
def test_row_25_info_says_that_the_core_is_there():
    said = succeeds(python("", "-m", "pyhybrid", "info"))
    assert re.search(r"compiled core +installed", said) and re.search(r"backend +rust", said) and "simd" in said


@pytest.mark.parametrize("content", [b"", b"garbage", b"\x7fELF" + bytes(60)], ids=["empty", "garbage", "truncated"])
def test_row_25_a_broken_core_is_seen_and_not_passed_over(clone, content, tmp_path):
    """A core that is there and does not load must not look like one that is absent: results would silently come slower."""
    shutil.copytree(clone / "pyhybrid", tmp_path / "pyhybrid")
    (tmp_path / "pyhybrid" / "_core.abi3.so").write_bytes(content)
    done = python("import pyhybrid.ops", path=tmp_path)
    assert done.returncode == 1 and "ImportError" in done.stderr and "_core.abi3.so" in done.stderr, done.stderr


@needs_core
def test_row_25_a_core_cut_off_in_the_middle_is_seen_too(clone, tmp_path):
    """What an interrupted copy leaves behind; the loader may refuse it or the system end the process, but nothing runs on."""
    compiled = Path(backend.core().__file__).read_bytes()
    shutil.copytree(clone / "pyhybrid", tmp_path / "pyhybrid")
    (tmp_path / "pyhybrid" / "_core.abi3.so").write_bytes(compiled[: len(compiled) // 2])
    assert python("import pyhybrid.ops", path=tmp_path).returncode != 0


def test_row_25_a_module_that_the_core_misses_is_not_mistaken_for_an_absent_core(clone, tmp_path):
    """ModuleNotFoundError from inside the core is a broken installation as well."""
    shutil.copytree(clone / "pyhybrid", tmp_path / "pyhybrid")
    (tmp_path / "pyhybrid" / "_core.py").write_text("import a_module_that_does_not_exist\n")
    done = python("import pyhybrid.ops", path=tmp_path)
    assert done.returncode == 1 and "a_module_that_does_not_exist" in done.stderr, done.stderr


@needs_core
def test_row_25_the_versions_of_package_and_core_agree():
    assert backend.core().__version__ == pyhybrid.__version__


# Unsafe code has few places.

ROOMS = re.compile(r"kernels/src/(lanes|gemm)(\.rs|/|_)")  # where vector instructions are


def rust_files():
    return [path for path in sorted(RUST.rglob("*.rs")) if "target" not in path.parts]


def code_of(text):
    """Rust source without comments, strings and character literals, line by line as before."""
    pattern = r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\])*"|\'(?:\\.|[^\'\\])\''
    return re.sub(pattern, lambda found: "\n" * found.group().count("\n"), text, flags=re.DOTALL)


def unsafe_places(text):
    """Line numbers of unsafe blocks, functions, traits and implementations."""
    return [n for n, line in enumerate(code_of(text).splitlines(), 1) if re.search(r"\bunsafe\b(?!_)", line)]


def test_unsafe_code_is_found_where_it_is():
    text = '#![allow(unsafe_code)]\n// unsafe {\nlet a = "unsafe";'
    text += '\nlet b = unsafe { c() };\nunsafe fn d() {}\nlet e = \'"\'; unsafe { f() }\n'
    assert unsafe_places(text) == [4, 5, 6]


@needs_sources
def test_there_is_no_unsafe_code_outside_the_vector_code():
    files = {path.relative_to(RUST).as_posix(): path.read_text(encoding="utf-8") for path in rust_files()}
    assert len(files) > 20
    wrong = [f"rust/{file}:{n}" for file, text in files.items() if not ROOMS.search(file) for n in unsafe_places(text)]
    assert not wrong, f"unsafe code outside lanes and gemm: {wrong}"
    allowed = [file for file, text in files.items() if "allow(unsafe_code)" in text and not ROOMS.search(file)]
    assert not allowed, f"files that allow themselves unsafe code: {allowed}"


@needs_sources
def test_every_unsafe_block_says_why_it_is_sound():
    """A SAFETY line within the few lines above it, or one that says so for every block below."""
    wrong = []
    for path in rust_files():
        lines = path.read_text(encoding="utf-8").splitlines()
        for n in unsafe_places("\n".join(lines)):
            reasons = [*lines[max(0, n - 12) : n], *(line for line in lines[:n] if "for every block below" in line)]
            if re.search(r"\bunsafe \{", lines[n - 1]) and not any("SAFETY" in line for line in reasons):
                wrong.append(f"rust/{path.relative_to(RUST).as_posix()}:{n}")
    assert not wrong, f"unsafe blocks without a SAFETY line above: {wrong}"


@needs_sources
def test_the_workspace_denies_unsafe_code():
    manifest = (RUST / "Cargo.toml").read_text(encoding="utf-8")
    assert re.search(r'(?m)^unsafe_code = "(deny|forbid)"', manifest) and re.search(
        r'(?m)^unsafe_op_in_unsafe_fn = "(deny|forbid)"', manifest
    )
    for member in ("kernels", "bindings"):
        assert re.search(r"\[lints\]\s*workspace = true", (RUST / member / "Cargo.toml").read_text(encoding="utf-8"))
