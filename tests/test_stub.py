"""The type stub of the compiled module says what the module is."""

import subprocess
import sys

import pytest

from pyhybrid import backend


@pytest.mark.skipif(not backend.available(), reason="the compiled core is absent")
def test_stub_matches_the_compiled_module():
    checked = subprocess.run([sys.executable, "-m", "mypy.stubtest", "pyhybrid._core"], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout + checked.stderr
