"""Recorded cases as dictionaries, so that a test can change one thing and write a damaged copy."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

GOLDEN = Path(__file__).parents[1] / "golden"


class Recorded:
    """A case in memory: `meta` and `arrays` may be changed; `write` saves them as a file."""

    def __init__(self, name: str, folder: Path) -> None:
        self.folder = folder
        with np.load(GOLDEN / "acmix" / f"{name}.npz") as archive:
            self.arrays = {key: archive[key] for key in archive.files}
        self.meta = json.loads(str(self.arrays.pop("meta")))

    @property
    def config(self) -> dict:
        return self.meta["config"]

    def write(self) -> Path:
        path = self.folder / "case.npz"
        np.savez(path, meta=np.array(json.dumps(self.meta)), **self.arrays)
        return path


@pytest.fixture
def recorded(tmp_path):
    """recorded(name) -> a copy of a recorded case that may be damaged."""
    return lambda name: Recorded(name, tmp_path)


@pytest.fixture
def golden() -> Path:
    """The folder with the recorded cases."""
    return GOLDEN
