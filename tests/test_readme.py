"""The README's example prints what the README says, and every command, option, model, extra and name in it exists."""

import argparse
import contextlib
import importlib
import io
import re
import shlex
import tomllib
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"
PROJECT = tomllib.loads((README.parent / "pyproject.toml").read_text("utf-8"))["project"]


def example() -> tuple[str, str]:
    """Source and printed output of the example between the two markers."""
    found = re.search(r"<!-- example -->\n```python\n(.*?)```\n<!-- output -->\n```\n(.*?)```", README.read_text("utf-8"), re.DOTALL)
    assert found, "README.md has no example with its output"
    return found[1], found[2]


def test_example_prints_what_the_readme_says():
    source, expected = example()
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(source, "README.md", "exec"), {})
    assert printed.getvalue() == expected
    assert expected.strip(), "an example without output shows nothing"


def test_commands_of_the_readme_exist():
    from pyhybrid.cli import COMMANDS

    table = set(re.findall(r"^\| `pyhybrid (\w+)", README.read_text("utf-8"), re.MULTILINE))
    assert table == set(COMMANDS)


def test_operators_and_models_of_the_readme_exist():
    import pyhybrid.ops
    from pyhybrid.papers import VARIANTS

    cells = [line.split("|") for line in README.read_text("utf-8").splitlines() if line.startswith("| ")]
    of_papers = [row[2] for row in cells if "arxiv.org" in row[1] or row[1].strip() == "all papers"]
    operators = {name for cell in of_papers for name in re.findall(r"`(\w+)`", cell)}
    assert operators == set(pyhybrid.ops.__all__)
    table = README.read_text("utf-8").partition("| models | from |")[2].partition("\n\n")[0]
    first = [line.split("|")[1] for line in table.splitlines()[2:]]
    models = {name for cell in first for name in re.findall(r"`(\w+[_\d]\w*)`", cell)}
    assert models <= set(VARIANTS)
    ranges = {name.partition("_")[0] for cell in first for name in re.findall(r"`(\w+)` …", cell)}      # `coatnet_0` … `coatnet_7`
    assert [name for name in VARIANTS if name not in models and name.partition("_")[0] not in ranges] == []


def test_small_models_are_named():
    from pyhybrid.papers import TINY

    assert [name for name in TINY if f"`{name}`" not in README.read_text("utf-8")] == []


def command_lines():
    """Everything in code that begins with pyhybrid, or with uv before it: the extras that it asks for, and its words."""
    text = README.read_text("utf-8")
    for code in re.findall(r"`([^`\n]+)`", text) + re.findall(r"(?m)^(?:uv run.*|pyhybrid .*)$", text):
        if found := re.match(r"(?:uv run )?((?:--extra \w+ )*)pyhybrid( .*)", code.split("#")[0].rstrip()):
            yield found[1].split()[1::2], shlex.split(re.sub(r"[\[\]]|\.\.\.", "", found[2]))


def test_command_lines_of_the_readme_are_understood():
    from pyhybrid.cli import parser

    lines = list(command_lines())
    assert len(lines) > 15
    for extras, words in lines:
        assert set(extras) <= set(PROJECT["optional-dependencies"])
        parser().parse_args(words)      # ends the process if it does not understand
    with pytest.raises(SystemExit), contextlib.redirect_stderr(io.StringIO()):
        parser().parse_args(["tour", "--no-such-option"])


def test_options_in_the_table_of_commands_exist():
    from pyhybrid.cli import parser

    (commands,) = [action.choices for action in parser()._actions if isinstance(action, argparse._SubParsersAction)]
    for name, rest in re.findall(r"^\| `pyhybrid (\w+)(.*)", README.read_text("utf-8"), re.MULTILINE):
        known = {option for action in commands[name]._actions for option in action.option_strings}
        assert set(re.findall(r"--[a-z-]+", rest)) <= known, name


def test_extras_of_the_readme_are_those_of_the_project():
    text = " ".join(README.read_text("utf-8").split())
    named = re.search(r"The extras are (.*?)\.", text)[1]
    assert sorted(re.findall(r"`(\w+)`", named)) == sorted(PROJECT["optional-dependencies"])
    assert set(re.findall(r"(?:pyhybrid|\.)\[(\w+)\]'", text)) <= set(PROJECT["optional-dependencies"])
    assert f"Python {PROJECT['requires-python'].removeprefix('>=')} or later" in text
    cargo = tomllib.loads((README.parent / "rust" / "Cargo.toml").read_text("utf-8"))
    assert f"(https://rustup.rs) {cargo['workspace']['package']['rust-version']} or later" in text


def test_names_of_the_package_in_the_readme_exist():
    names = set(re.findall(r"`(pyhybrid\.[\w.]+)", README.read_text("utf-8")))
    assert len(names) >= 5
    for name in names:
        package, *attributes = [name] if importlib.util.find_spec(name.rpartition(".")[0]) is None else name.rsplit(".", 1)
        module = importlib.import_module(package)
        assert all(hasattr(module, a) or importlib.util.find_spec(f"{package}.{a}") for a in attributes), name


def test_links_of_the_readme_lead_somewhere():
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", README.read_text("utf-8")):
        assert (README.parent / target).exists(), f"README.md links to {target}, which is not there"
