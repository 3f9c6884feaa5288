"""Which steps of a proof fail, for tests that put faults into operators."""

from pyhybrid import backend, proofs


def failing_steps(name, draws=None):
    """The places of the failing steps of a proof, on the reference bodies; `draws` per size, None: as many as usual."""
    with backend.use("numpy"):
        (proof,) = (p for p in proofs.every() if p.name == name)
        return [i for i, step in enumerate(proofs.check(proof, draws=draws).steps, 1) if not step.holds]
