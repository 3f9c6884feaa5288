"""Conformance: is somebody's operator what it claims to be?

`replay(paths)` replays recorded cases of the official implementations with this project's operators or with yours
(`pyhybrid golden` is its command). `suite.judge(forward, gradient, like="conv2d")` runs every law of `pyhybrid.check`
on your function.
"""

from pyhybrid.conformance import suite
from pyhybrid.conformance.replay import Implementation, replay
from pyhybrid.conformance.report import Report, Row

__all__ = ["Implementation", "Report", "Row", "replay", "suite"]
