"""Layers: named parameters with an explicit forward and backward, nothing recorded in between."""

from pyhybrid.nn.module import Module, StateDictError

__all__ = ["Module", "StateDictError"]
