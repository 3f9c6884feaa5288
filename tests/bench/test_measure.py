"""The benchmark's measure and its command: medians, fastest runs, and the ratios made of them."""

import json
from itertools import cycle
from types import SimpleNamespace

import pytest

from pyhybrid import backend, cli
from pyhybrid.bench import catalogue, measure
from pyhybrid.bench.measure import Seconds

needs_core = pytest.mark.skipif(not backend.available(), reason="the compiled core is not installed")


def test_median_and_least():
    assert Seconds.of([3.0, 1.0, 2.0, 9.0]) == (2.5, 1.0)


def test_contenders_take_turns_and_each_is_timed_by_itself(monkeypatch):
    """On a clock of its own."""
    now, runs = [0.0], []

    def passes(seconds):
        now[0] += seconds

    monkeypatch.setattr(measure, "time", SimpleNamespace(perf_counter=lambda: now[0], sleep=passes))

    def contender(name, *durations):
        turns = cycle(durations)
        return lambda: (runs.append(name), passes(next(turns)))

    found = measure.interleaved({"slow": contender("slow", 4.0, 2.0, 8.0), "fast": contender("fast", 1.0)}, seconds=9.0, least=2)
    assert runs[:4] == ["slow", "fast", "slow", "fast"] and runs.count("slow") == 3 and runs.count("fast") == 10
    assert found == {"slow": (5.0, 2.0), "fast": (1.0, 1.0)}  # the first run of each warms up


ROW = ["bench", "regroup", "--size", "512@7", "--batch", "1", "--threads", "1", "--seconds", "0.01"]


@needs_core
def test_the_command_reports_ratios_of_medians_and_of_fastest_runs(capsys):
    assert cli.main([*ROW, "--json"]) == 0
    forward, both = json.loads(capsys.readouterr().out)["rows"]
    assert (forward["pass"], both["pass"]) == ("fwd", "fwd+bwd")
    for row in (forward, both):
        assert all(0 < row["least_ms"][who] <= ms for who, ms in row["ms"].items())
        for ratios, times in ((row["ratio"], row["ms"]), (row["ratio_of_least"], row["least_ms"])):
            assert ratios == {who: pytest.approx(ms / times["rust"]) for who, ms in times.items() if who != "rust"}


@needs_core
def test_the_command_prints_a_line_for_each(capsys):
    assert cli.main(ROW) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len([line for line in lines if line.startswith("regroup ")]) == 2 and "by fastest runs" in lines[0]


@needs_core
def test_an_unknown_name_is_an_error_before_anything_is_measured(capsys):
    assert cli.main(["bench", "regroup", "nonsense"]) == 2
    said = capsys.readouterr()
    assert "no benchmark named nonsense; there are" in said.err and not said.out


def test_works_are_made_when_their_turn_comes(monkeypatch):
    made = []
    monkeypatch.setitem(catalogue.WORKS, "regroup", lambda name, size, batch, channels, height: made.append((size, batch)))
    works = catalogue.works(["regroup"], ["64@56", "512@7"], batch=3)
    assert not made
    next(works)
    assert made == [("64@56", 3)]
