"""Hypothesis profiles, and two fixtures: `backend` runs a test on each backend, `refuses` checks an error message.

The environment variable HYPOTHESIS_PROFILE chooses: "dev" (few examples), "ci" (more, prints how to reproduce a
failure), "deep" (many, for a night). Default: "ci" where the environment variable CI is set, otherwise "dev".
"""

from __future__ import annotations

import inspect
import os

import pytest
from hypothesis import HealthCheck, settings

from pyhybrid import backend as seam
from pyhybrid.errors import ConstraintError, constraint_text, describe

# One example runs an operator some fifty times, so time says nothing about the strategies: no limits on speed.
_EVERYWHERE = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("dev", max_examples=6, **_EVERYWHERE)
settings.register_profile("ci", max_examples=40, print_blob=True, **_EVERYWHERE)
settings.register_profile("deep", max_examples=1000, print_blob=True, **_EVERYWHERE)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if os.environ.get("CI") else "dev"))


@pytest.fixture(params=["numpy", "rust"])
def backend(request):
    """Runs the test once on each backend; "rust" is skipped only if the compiled core is absent."""
    if request.param == "rust" and not seam.available():
        pytest.skip("the compiled core is not installed")
    with seam.use(request.param):
        yield request.param


@pytest.fixture
def refuses():
    """`refuses(operator, "C1", "x", *arrays, **config)`: forward raises, naming constraint, argument and what came."""

    def check(operator, label, argument, *arrays, **config):
        with pytest.raises(ConstraintError) as raised:
            operator.forward(*arrays, **config)
        text, name = str(raised.value), operator.__name__.rpartition(".")[2]
        rule = constraint_text(operator.__doc__, label)
        assert rule, f"the docstring of {name} has no ({label})"
        assert text.startswith(f"{name} ({label}): {rule}; got "), text
        position = list(inspect.signature(operator.output_shape).parameters).index(argument)
        came = config[argument] if argument in config else arrays[position]
        assert f"{argument} = {describe(came)}" in text, text

    return check
