"""pyhybrid: what hybrid convolution/attention operators compute, in NumPy, with hand-derived gradients and a Rust core.

`pyhybrid.ops` holds the operators, `pyhybrid.backend` chooses the body that runs, `pyhybrid.check` judges, `pyhybrid.proofs` proves.
"""

__version__ = "0.1.0"
