"""Proofs and verdicts as text, HTML and plain data."""

from __future__ import annotations

import inspect
import math
import textwrap
from html import escape
from typing import Any

from pyhybrid.proofs._proof import Failure, Proof, Step, StepVerdict, Verdict

WIDTH = 110


def proof_text(proof: Proof) -> str:
    """The statement and its derivation, unchecked."""
    lines = [*_heading(proof), *(line for i, step in enumerate(proof.steps) for line in _step(step, i == 0, ""))]
    return "\n".join([*lines, *(_wrapped(f"fails outside: {c.outside}", "  ") for c in proof.counterexamples)])


def verdict_text(verdict: Verdict, paint: Any = lambda text, style: text) -> str:
    """The derivation with the outcome of every step; `paint` colours the outcomes."""
    lines = _heading(verdict.proof)
    lines += _step(verdict.proof.steps[0], True, "")
    for step in verdict.steps:
        lines += _step(step.step, False, paint("ok  ", "green") if step.holds else paint("FAIL", "red"))
        if not step.holds:
            lines.append(paint(_wrapped(f"not equal to the line above: {step.difference}", "        "), "red"))
        elif step.bound is not None:
            lines[-1] += f" (off by {step.worst:.1e}, bound {step.bound:.1e})"
    lines.append(_wrapped(method(verdict), "  "))
    for failure in verdict.failures:
        text = _wrapped(outcome(failure), "  ")
        lines.append(text if failure.fails else paint(text, "red"))
    return "\n".join(lines)


def method(verdict: Verdict) -> str:
    """How the steps were compared, in one sentence."""
    sizes = f"{verdict.sizes} size{'s' * (verdict.sizes != 1)}"
    if verdict.mode == "symbolic":
        return f"proven on symbols at {sizes}: every difference simplifies to 0"
    numbers = {"fractions": "fractions", "exact": "integers" if verdict.proof.degree else "numbers"}[verdict.mode]
    how = f"{sizes} x {verdict.draws} draws of {numbers} on {' and '.join(verdict.backends)}"
    if verdict.survival is not None:
        return (f"compared with == at {how}; degree {verdict.proof.degree}: "
                f"a false step survives at any one size with chance <= {verdict.survival:.1e}")
    if verdict.mode == "fractions":
        return f"compared with == at {how}, logits as logarithms of fractions"
    bounds = " and ".join(dict.fromkeys(s.step.bound_text for s in verdict.steps if s.step.bound))
    only = "" if verdict.proof.small else " (numbers only: some operator here runs neither on fractions nor on symbols)"
    return f"compared at {how}, up to the bound {bounds}{only}" if bounds else f"compared with == at {how}{only}"


def outcome(failure: Failure) -> str:
    """What a counterexample did, in one sentence."""
    example = failure.counterexample
    sides = f"{example.outside}. {example.left.text} against {example.right.text}"
    if failure.difference is None:
        return f"DOES NOT FAIL, but must: {sides}: equal"
    if failure.disagreement:
        return f"FAILS TOO MUCH: {sides}: {failure.disagreement}"
    agreed = "".join(f"; equal: {text}" for text, _, _ in example.agrees)
    return f"fails as it must: {sides}: {failure.difference}{agreed}"


def verdict_dict(verdict: Verdict) -> dict[str, Any]:
    """Plain data for `--json`."""
    proof = verdict.proof
    return {
        "name": proof.name, "title": proof.title, "statement": proof.statement, "hypotheses": list(proof.hypotheses),
        "domain": proof.domain, "source": proof.source, "mode": verdict.mode, "holds": verdict.holds, "sizes": verdict.sizes,
        "draws": verdict.draws, "backends": list(verdict.backends), "degree": proof.degree, "survival": verdict.survival,
        "seconds": round(verdict.seconds, 4), "start": proof.steps[0].text,
        "steps": [{"expression": s.step.text, "reason": s.step.reason, "holds": s.holds, "comparisons": s.draws,
                   "worst": s.worst if s.worst is not None and math.isfinite(s.worst) else None, "bound": s.bound,
                   "bound_text": s.step.bound_text or None, "difference": s.difference and str(s.difference)}
                  for s in verdict.steps],
        "counterexamples": [{"outside": f.counterexample.outside, "left": f.counterexample.left.text,
                             "right": f.counterexample.right.text, "fails": f.fails,
                             "difference": f.difference and str(f.difference), "disagreement": f.disagreement or None,
                             "agrees": [text for text, _, _ in f.counterexample.agrees]} for f in verdict.failures],
    }


def proof_html(proof: Proof) -> str:
    """The statement and its derivation, unchecked."""
    rows = [_row(step, i == 0, "") for i, step in enumerate(proof.steps)]
    outside = "".join(f"<li>{escape(c.outside)}</li>" for c in proof.counterexamples)
    return _page(proof, rows, f"<p>Fails outside:</p><ul>{outside}</ul>")


def verdict_html(verdict: Verdict) -> str:
    """The derivation as a table with outcomes, then how it was checked, then the counterexamples."""
    rows = [_row(verdict.proof.steps[0], True, "")]
    rows += [_row(s.step, False, _mark(s)) for s in verdict.steps]
    failures = "".join(f"<li>{_flag(f.fails)} {escape(outcome(f))}</li>" for f in verdict.failures)
    return _page(verdict.proof, rows, f"<p>{escape(method(verdict))}</p><ul>{failures}</ul>")


# Colours that can be read on white and on black; everything else inherits from the notebook.
GREEN, RED, LINE = "#2a9d5c", "#d9534f", "rgba(128,128,128,.35)"


def _page(proof: Proof, rows: list[str], below: str) -> str:
    hypotheses = "; ".join(escape(h) for h in proof.hypotheses)
    return (
        f'<div style="max-width:70em"><h4 style="margin:.6em 0 .2em">{escape(proof.title)}</h4>'
        f"<p><b>{escape(proof.statement)}</b><br>Hypotheses: {hypotheses}.<br>Domain: {escape(proof.domain)}.<br>"
        f"<small>{escape(proof.source)}</small></p>"
        f'<table style="border-collapse:collapse;background:transparent;color:inherit">{"".join(rows)}</table>{below}</div>'
    )


def _row(step: Step, first: bool, mark: str) -> str:
    cell = f'style="text-align:left;vertical-align:top;padding:.25em .6em;border-bottom:1px solid {LINE};background:transparent"'
    code = f"<pre style='background:transparent;color:inherit'>{escape(source(step))}</pre>"
    expression = f"<details><summary>{escape(step.text)}</summary>{code}</details>"
    cells = ("" if first else "=", expression, escape(step.reason), mark)
    return f"<tr>{''.join(f'<td {cell}>{content}</td>' for content in cells)}</tr>"


def _mark(verdict: StepVerdict) -> str:
    if not verdict.holds:
        return f"{_flag(False)} {escape(str(verdict.difference))}"
    if verdict.bound is None:
        return _flag(True)
    return f"{_flag(True)} off by {verdict.worst:.1e}, bound {verdict.bound:.1e}"


def _flag(good: bool) -> str:
    return f'<span style="color:{GREEN if good else RED};font-weight:bold">{"✓" if good else "✗"}</span>'


def source(step: Step) -> str:
    """The Python text of an expression; empty where it cannot be read."""
    try:
        return textwrap.dedent(inspect.getsource(step.value))
    except (OSError, TypeError):
        return ""


def _heading(proof: Proof) -> list[str]:
    lines = [f"{proof.name}: {proof.title}", _wrapped(proof.statement, "  ")]
    return [*lines, _wrapped("if " + "; ".join(proof.hypotheses), "  "), _wrapped("for " + proof.domain, "  ")]


def _step(step: Step, first: bool, mark: str) -> list[str]:
    line = f"      {step.text}" if first else f"    = {step.text}"
    if not step.reason:
        return [line]
    return [line, _wrapped(f"{mark} {step.reason}".strip(), "        ")]


def _wrapped(text: str, indent: str) -> str:
    return textwrap.fill(text, WIDTH, initial_indent=indent, subsequent_indent=indent + "  ", break_on_hyphens=False)
