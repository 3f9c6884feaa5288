"""The lessons run from top to bottom, their exercises can be failed and solved, and the index says what they say of themselves."""

from __future__ import annotations

import ast
import functools
import importlib.util
import re
import sys
import types
from pathlib import Path

import pytest

import pyhybrid
from pyhybrid.cli import main
from pyhybrid.commands import lab
from pyhybrid.errors import UsageError

FOLDER = Path(__file__).parents[1] / "tutorials"
LESSONS = sorted(FOLDER.glob("[0-9]*.ipynb"))
INDEX = FOLDER / "index.ipynb"
SCRIPT = FOLDER.parent / "docs" / "lesson_index.py"
LINES, COLUMNS, SECONDS = 15, 100, 60
EXERCISE = ("exercise", "grade", "solution")
OFFERED = ("ops", "nn", "papers", "check", "stepper")
FIELDS = {"lesson": int, "statement": str, "paper": str, "equations": list, "operators": list, "minutes": int, "difficulty": str,
          "prerequisites": list}

every_lesson = pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)


@functools.cache
def nbformat():
    """Imported where it is used: it takes seconds, and every process that collects these tests would wait for it."""
    return pytest.importorskip("nbformat")


def read(path):
    return nbformat().read(path, as_version=4)


def code_cells(path):
    """(number, cell) of the code cells, numbered over all cells from 1."""
    return [(number, cell) for number, cell in enumerate(read(path).cells, 1) if cell.cell_type == "code"]


def tags(cell):
    return [tag for tag in cell.metadata.get("tags", []) if tag in EXERCISE]


def exercises(path):
    """The cells (exercise, grade, solution) of each exercise, in order."""
    tagged = [cell for _, cell in code_cells(path) if tags(cell)]
    return [tagged[n : n + 3] for n in range(0, len(tagged), 3)]


def defined(source):
    """Names of the functions and classes that a piece of source defines at its top level, named lambdas included."""
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Lambda):
            yield from (target.id for target in node.targets if isinstance(target, ast.Name))


@functools.cache
def in_package():
    """What the package offers: the operators by name, and the functions and classes of the parts that lessons import from."""
    root = Path(pyhybrid.__file__).parent
    names = {path.stem for path in (root / "ops").glob("[!_]*.py")}
    for path in [*root.glob("*.py"), *(path for part in OFFERED for path in (root / part).rglob("*.py"))]:
        names |= {name for name in defined(path.read_text("utf-8")) if not name.startswith("_")}
    return names


# Running.


def prepared(path):
    """The notebook as it is run here: every stub must be graded as wrong, then the solution takes its place and must be accepted."""
    notebook = read(path)
    grade, cells = None, []
    for cell in notebook.cells:
        cells.append(cell)
        if tags(cell) == ["grade"]:
            grade = cell.source
            cell.source += "\nassert not verdict.passed, 'the stub was accepted: this exercise grades nothing'"
        elif tags(cell) == ["solution"]:
            accepted = f"{grade}\nassert verdict.passed, 'the solution was not accepted'"
            cells.append(nbformat().v4.new_code_cell(accepted))
    cells.append(nbformat().v4.new_code_cell("import time\nprint(time.process_time())"))
    notebook.cells = cells
    return notebook


def execute(notebook, folder):
    """Run all cells in a fresh kernel; waits long, for the limit is on processor time and the machine may be busy.

    A kernel is given ports that were free a moment ago: if another program took one, no cell has run, and another kernel is started.
    """
    nbclient = pytest.importorskip("nbclient")
    where = {"metadata": {"path": str(folder)}}
    client = functools.partial(nbclient.NotebookClient, notebook, timeout=20 * SECONDS, startup_timeout=5 * SECONDS, kernel_name="python3",
                               resources=where)
    for _ in range(2):
        try:
            return client().execute()
        except RuntimeError as error:
            if "before replying to kernel_info" not in str(error):
                raise
    return client().execute()


def failure(path, notebook, reason):
    """Cell number, source and traceback of the cell that failed; if no cell did, what stopped the run."""
    for number, cell in enumerate(notebook.cells, 1):
        for output in cell.get("outputs", []):
            if output.output_type == "error":
                traceback = re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(output.traceback))
                return f"{path.name}, cell {number}:\n\n{cell.source}\n\n{traceback}"
    return f"{path.name}: {type(reason).__name__}: {reason}"


@every_lesson
def test_lesson_runs_from_top_to_bottom(path, tmp_path):
    nbclient = pytest.importorskip("nbclient")
    pytest.importorskip("matplotlib")
    notebook = prepared(path)
    if any("pyhybrid.train" in cell.source for cell in notebook.cells):
        pytest.importorskip("sklearn")      # for its digits
    try:
        execute(notebook, tmp_path)
    except (nbclient.exceptions.CellControlSignal, nbclient.exceptions.DeadKernelError) as reason:
        pytest.fail(failure(path, notebook, reason), pytrace=False)
    seconds = float(notebook.cells[-1].outputs[0].text)
    assert seconds < SECONDS, f"{path.name} took {seconds:.0f} s of processor time"
    assert not list(tmp_path.iterdir()), "a lesson leaves files behind"


def test_a_failing_cell_is_reported_with_number_source_and_traceback(tmp_path):
    nbclient = pytest.importorskip("nbclient")
    cells = [nbformat().v4.new_markdown_cell("text"), nbformat().v4.new_code_cell("lesson = 1\n1 / (lesson - 1)")]
    notebook = nbformat().v4.new_notebook(cells=cells)
    with pytest.raises(nbclient.exceptions.CellExecutionError) as raised:
        execute(notebook, tmp_path)
    told = failure(Path("some.ipynb"), notebook, raised.value)
    assert "some.ipynb, cell 2" in told
    assert "1 / (lesson - 1)" in told
    assert "ZeroDivisionError" in told and "\x1b" not in told


# Form.


def test_there_are_lessons():
    assert len(LESSONS) >= 3


@pytest.mark.parametrize("path", [*LESSONS, INDEX], ids=lambda path: path.stem)
def test_stored_without_outputs(path):
    for number, cell in code_cells(path):
        assert not cell.outputs and cell.execution_count is None, f"cell {number} is stored with its output"


@every_lesson
def test_cells_are_short(path):
    for number, cell in code_cells(path):
        lines = cell.source.splitlines()
        assert len(lines) <= LINES, f"cell {number} has {len(lines)} lines"
        assert max(map(len, lines)) <= COLUMNS, f"cell {number} has a line of {max(map(len, lines))} columns"


@every_lesson
def test_exercises_come_with_grade_and_folded_solution(path):
    cells = [cell for _, cell in code_cells(path)]
    tagged = [n for n, cell in enumerate(cells) if tags(cell)]
    assert tagged == [n for start in tagged[::3] for n in range(start, start + 3)], "exercise, grade and solution follow each other"
    assert [tags(cells[n]) for n in tagged] == [[tag] for tag in EXERCISE] * (len(tagged) // 3)
    few = 1 if path.name.startswith("00_") else 2       # the tour of five minutes has time for one
    assert len(tagged) // 3 >= few, f"a lesson has at least {few} exercises"
    for exercise, grade, solution in exercises(path):
        (name,) = defined(exercise.source)
        assert [*defined(solution.source)] == [name]
        assert f"verdict = check.grade({name}," in grade.source
        assert solution.metadata.get("jupyter", {}).get("source_hidden") is True, "the solution is folded"


@every_lesson
def test_nothing_is_defined_that_the_package_defines(path):
    names = in_package()
    for number, cell in code_cells(path):
        assert not names & {*defined(cell.source)}, f"cell {number}"


@every_lesson
def test_seeds_are_fixed(path):
    for number, cell in code_cells(path):
        for node in ast.walk(ast.parse(cell.source)):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("default_rng"):
                assert node.args, f"cell {number}: default_rng() without a seed"
            if isinstance(node, ast.Attribute) and ast.unparse(node.value).endswith("np.random"):
                assert node.attr == "default_rng", f"cell {number}: the global random state"


@every_lesson
def test_first_cell_says_what_the_lesson_is(path):
    notebook = read(path)
    first, about = notebook.cells[0], notebook.metadata["pyhybrid"]
    assert first.cell_type == "markdown"
    parts = (f"# {about['lesson']}. ", "**Claim.**", "$$", "**After this lesson you can**", f"*{about['minutes']} minutes.", "You need:")
    for part in (*parts, about["paper"]):
        assert part in first.source, f"the first cell lacks {part!r}"


@pytest.mark.parametrize("path", [*LESSONS, INDEX], ids=lambda path: path.stem)
def test_links_lead_somewhere(path):
    for cell in read(path).cells:
        if cell.cell_type == "markdown":
            for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", cell.source):
                assert (FOLDER / target).exists(), target


# The index.


@every_lesson
def test_metadata_is_complete(path):
    about = read(path).metadata["pyhybrid"]
    assert {name: type(value) for name, value in about.items()} == FIELDS
    assert path.name.startswith(f"{about['lesson']:02}_")
    assert all((Path(pyhybrid.__file__).parent / "ops" / f"{name}.py").exists() for name in about["operators"])


def test_lessons_are_numbered_from_zero():
    assert [read(path).metadata["pyhybrid"]["lesson"] for path in LESSONS] == [*range(len(LESSONS))]


@pytest.fixture(scope="module")
def lesson_index():
    spec = importlib.util.spec_from_file_location("lesson_index", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_index_and_readme_say_what_the_lessons_say_of_themselves(lesson_index):
    assert INDEX.read_text("utf-8") == lesson_index.notebook(), "run: python docs/lesson_index.py"
    assert lesson_index.README.read_text("utf-8") == lesson_index.readme(), "run: python docs/lesson_index.py"


def test_index_has_every_fact_of_every_lesson():
    nbformat().validate(read(INDEX))
    text = "\n".join(cell.source for cell in read(INDEX).cells)
    rows = dict(re.findall(r"^\| (\d+) (\|.*)$", text, re.MULTILINE))
    for path in LESSONS:
        about = read(path).metadata["pyhybrid"]
        row = rows.pop(str(about["lesson"]))
        assert f"[{about['statement']}]({path.name}) | {about['minutes']} | {about['difficulty']} |" in row
        for need in about["prerequisites"]:
            assert f"[{need.removeprefix('lesson ')}](" in row or need in row, need
        for paper in about["paper"].split("; "):
            (about_paper,) = re.findall(rf"^\| {re.escape(paper)} \|.*$", text, re.MULTILINE)
            assert " ".join([f"[{about['lesson']}]({path.name})", ", ".join(about["equations"])]).strip() in about_paper
        for operator in about["operators"]:
            (about_operator,) = re.findall(rf"^\| `{operator}` \|.*$", text, re.MULTILINE)
            assert f"[{about['lesson']}]({path.name})" in about_operator
    assert not rows


def test_every_paper_has_a_lesson_by_its_name_and_identifier(lesson_index):
    cards = [importlib.import_module(f"pyhybrid.papers.{name}").CARD for name in ("acmix", "coatnet", "das", "hornet", "smt")]
    papers = list(lesson_index.by_paper(lesson_index.lessons()))
    assert sorted(paper.partition(", ")[2] for paper in papers) == sorted(card.identifier for card in cards)


def test_the_way_to_a_lesson_is_all_that_it_builds_on(lesson_index):
    made = lambda number, *needs: lesson_index.Lesson(f"{number}.ipynb", number, "", "", [], [], 5, "", list(needs))
    every = {0: made(0), 1: made(1, "sums"), 2: made(2, "lesson 1"), 3: made(3), 4: made(4, "lesson 2", "complex numbers")}
    assert [step.lesson for step in lesson_index.way(every[4], every)] == [1, 2, 4]
    for wrong in (made(5, "lesson 5"), made(5, "lesson 6")):
        with pytest.raises(ValueError, match=f"lesson 5 needs {wrong.prerequisites[0]}"):
            lesson_index.way(wrong, every | {5: wrong})


# pyhybrid lab.


def test_lab_finds_the_lessons_of_this_clone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert lab.tutorials(None).samefile(FOLDER)
    assert lab.tutorials(FOLDER) == FOLDER


@pytest.mark.parametrize("make", [True, False], ids=["empty", "absent"])
def test_lab_refuses_a_folder_without_notebooks(tmp_path, make, capsys):
    pytest.importorskip("jupyterlab")
    folder = tmp_path / "lessons"
    if make:
        folder.mkdir()
    with pytest.raises(UsageError, match="no notebooks in"):
        lab.tutorials(folder)
    assert main(["lab", "--dir", str(folder)]) == 2
    assert str(folder) in capsys.readouterr().err


def test_lab_opens_jupyterlab_on_the_lessons(monkeypatch):
    pytest.importorskip("jupyterlab")
    called = []
    monkeypatch.setitem(sys.modules, "jupyterlab.labapp", types.SimpleNamespace(main=called.append))
    assert main(["lab", "--dir", str(FOLDER), "--no-browser", "--", "--port=9000"]) == 0
    assert main(["lab", "--dir", str(FOLDER)]) == 0
    common = [f"--notebook-dir={FOLDER}", "--LabApp.default_url=/lab/tree/index.ipynb"]
    assert called == [[*common, "--no-browser", "--port=9000"], common]


def test_lab_opens_at_the_index_where_there_is_one(tmp_path):
    assert INDEX.exists() and lab.first_page(FOLDER) == ["--LabApp.default_url=/lab/tree/index.ipynb"]
    assert lab.first_page(tmp_path) == []


def test_lab_without_jupyterlab_says_how_to_install_it(monkeypatch, capsys):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert main(["lab", "--dir", str(FOLDER)]) == 2
    assert "pip install 'pyhybrid[tutorials]'" in capsys.readouterr().err
