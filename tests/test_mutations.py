"""Deliberate mistakes in the operators, each of which the judges must catch.

A mutation replaces one piece of an operator's source. The mutated module is run through the very call that tests the real one
(`check.laws` with the naive loops as oracle, NumPy bodies only) on seeded cases; at least one law must fail, and the laws that fail are
named, so that a mistake is caught for the right reason.
"""

from __future__ import annotations

import importlib
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import naive
import pytest

import pyhybrid.ops
from pyhybrid import backend, check
from pyhybrid.check import cases

FOLDER = Path(pyhybrid.ops.__file__).parent


class Mutation(NamedTuple):
    operator: str
    what: str
    old: str
    new: str
    caught_by: str      # a law that must be among those that fail


MUTATIONS = [
    Mutation("shift", "sign of the offset", "= x[..., inside(-s, H), inside(-t, W)]     # (F1)",
             "= np.roll(x, (s, t), (-2, -1))[..., inside(s, H), inside(t, W)]", "value"),
    Mutation("shift", "rows and columns exchanged",
             's, t = pair("offset", offset, ANY)\n', 't, s = pair("offset", offset, ANY)\n', "value"),
    Mutation("shift", "the shift is its own adjoint", "dx[..., inside(-s, H), inside(-t, W)] = dy[..., inside(s, H), inside(t, W)]",
             "dx[..., inside(s, H), inside(t, W)] = dy[..., inside(-s, H), inside(-t, W)]", "adjoint"),
    Mutation("conv2d", "kernel flipped", "K[..., p, q] @ _read(xp, p, q", "K[..., -1 - p, -1 - q] @ _read(xp, p, q", "value"),
    Mutation("conv2d", "taps transposed on the way back",
             "dx_pq = K[..., p, q]", "dx_pq = K[..., q % K.shape[-2], p % K.shape[-1]]", "derivative"),
    Mutation("conv2d", "gradient of the last image only", ".sum(0)                                      # (B2)", "[-1]", "derivative"),
    Mutation("conv2d", "bias gradient averaged", "else dy.sum((0, 2, 3))", "else dy.mean((0, 2, 3))", "derivative"),
    Mutation("pointwise_conv", "bias forgotten", "K @ pixels + bias[:, None] ", "K @ pixels ", "value"),
    Mutation("pointwise_conv", "gradient halved", "(K.T @ dpixels)", "0.5 * (K.T @ dpixels)", "derivative"),
    Mutation("tap_projection", "taps counted column by column", "weight.transpose(2, 3, 0, 1)", "weight.transpose(3, 2, 0, 1)", "value"),
    Mutation("shift_sum", "one shift left out", "offset=(p - kh // 2, q - kw // 2))[0] for m, p, q",
             "offset=(p - kh // 2, q - kw // 2) if m else 0)[0] for m, p, q", "value"),
    Mutation("shift_sum", "stride grid starts at the wrong pixel on the way back", "dg[..., ::sh, ::sw] = dy ",
             "dg[..., sh - 1 :: sh, sw - 1 :: sw] = dy[..., : len(range(sh - 1, H, sh)), : len(range(sw - 1, W, sw))] ", "adjoint"),
    Mutation("shift_conv", "stride of the fixed shifts forgotten", "stride=stride)             # (F1)", "stride=1)", "value"),
    Mutation("softmax", "missing mean in the backward", "a * (dy - (a * dy).sum(axis, keepdims=True))", "a * dy", "derivative"),
    Mutation("reflection_pad", "edge repeated (symmetric padding)", "t = np.abs(np.arange(-padding, length + padding))",
             "t = np.maximum(np.arange(-padding, length + padding), -1 - np.arange(-padding, length + padding))", "value"),
    Mutation("reflection_pad", "folded pixels overwrite instead of adding up", "np.add.at(dx, readers, dy)",
             "dx[readers] = dy", "adjoint"),
    Mutation("unfold", "only the last tap returns its gradient", "[...] += dy[..., m, :, :]", "[...] = dy[..., m, :, :]", "adjoint"),
    Mutation("positional_term", "vertical before horizontal", "weight[:, 0] * L[0] + weight[:, 1] * L[1]",
             "weight[:, 0] * L[1] + weight[:, 1] * L[0]", "value"),
    Mutation("local_attention", "sign of the relative position", "window.centre(pe)[:, None] - window.read(pe)",
             "window.read(pe) - window.centre(pe)[:, None]", "value"),
    Mutation("local_attention", "scale left out of the key gradient", "dE = scale_ * q_ij", "dE = q_ij", "derivative"),
    Mutation("local_attention", "masked taps get the score 0", "S, -np.inf)", "S, 0)", "value"),
    Mutation("local_attention", "softmax derivative without its mean", "(da - (a * da).sum(2, keepdims=True))", "da", "derivative"),
    Mutation("conv_path", "key and query exchanged", "for x in (q, k, v)]", "for x in (k, q, v)]", "value"),
    Mutation("conv_path", "channel orders exchanged",
             'y = c if channel_order == "official"', 'y = c if channel_order != "official"', "value"),
    Mutation("acmix", "the rates exchanged", "y = rate1 * att + rate2 * conv", "y = rate2 * att + rate1 * conv", "value"),
    Mutation("acmix", "query gradient of the convolution path forgotten", "from_att.q + from_conv.q", "from_att.q", "derivative"),
    Mutation("acmix", "paths' upstream gradient not scaled", "c.rate1 * dy, c.rate2 * dy", "dy, c.rate2 * dy", "derivative"),
]


@contextmanager
def mutated(mutation: Mutation) -> Iterator[types.ModuleType]:
    """The operator's module with one piece of source replaced; the package's own module stays as it is."""
    name = f"pyhybrid.ops.{mutation.operator}"
    source = (FOLDER / f"{mutation.operator}.py").read_text("utf-8")
    assert mutation.old in source, f"{mutation.operator}: the source has no {mutation.old!r} any more; state the mutation anew"
    module, original = types.ModuleType(name), importlib.import_module(name)
    module.__file__ = original.__file__
    sys.modules[name] = module      # where the seam looks for Cache, Grads and output_shape
    try:
        exec(compile(source.replace(mutation.old, mutation.new, 1), module.__file__ or name, "exec"), module.__dict__)
        yield module
    finally:
        sys.modules[name] = original


def broken_laws(module: types.ModuleType, operator: str) -> set[str]:
    """Names of the laws that fail on some corner or seeded case, NumPy bodies only."""
    failed: set[str] = set()
    with backend.use("numpy"):
        for case in [*cases.corners(operator), *cases.seeded(operator, 8)]:
            results = check.laws(module, case, oracle=getattr(naive, operator), skip=("parity",))
            failed |= {result.law for result in results if not result.passed}
    return failed


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda m: f"{m.operator}: {m.what}")
def test_mutation_is_caught(mutation: Mutation):
    with mutated(mutation) as module:
        failed = broken_laws(module, mutation.operator)
    assert mutation.caught_by in failed, f"the law {mutation.caught_by!r} should have failed; failed: {sorted(failed) or 'none'}"


@pytest.mark.parametrize("operator", sorted({m.operator for m in MUTATIONS}))
def test_the_operator_itself_is_not_caught(operator: str):
    module = importlib.import_module(f"pyhybrid.ops.{operator}")
    assert broken_laws(module, operator) == set()
