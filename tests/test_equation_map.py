"""docs/equations.md is what docs/equation_map.py makes of the cards, kernels, tests, proofs and lessons as they are."""

import importlib.util
import re
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "docs" / "equation_map.py"


@pytest.fixture(scope="module")
def equation_map():
    spec = importlib.util.spec_from_file_location("equation_map", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_up_to_date(equation_map):
    assert equation_map.PAGE.read_text("utf-8") == equation_map.page(), "run: python docs/equation_map.py"


def test_every_equation_of_every_card_has_a_row_with_a_test(equation_map):
    rows = [line.split(" | ") for line in equation_map.page().splitlines() if re.match(r"\| (?!equation|-)", line)]
    assert len(rows) == sum(len(card.equations) for card in equation_map.cards())
    assert [row[0] for row in rows if "tests/" not in row[4]] == []


def test_an_operator_without_its_files_is_an_error(equation_map):
    with pytest.raises(FileNotFoundError, match="no_such"):
        equation_map.link("no_such", "tests/ops/test_no_such.py")
