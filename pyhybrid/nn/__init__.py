"""Layers: named parameters with an explicit forward and backward, nothing recorded in between."""

from pyhybrid.nn import init
from pyhybrid.nn.chain import Sequential, chain_backward, chain_forward, prefixed
from pyhybrid.nn.init import Seed
from pyhybrid.nn.layers import BatchNorm2d, Conv2d, DropPath, LayerNorm, Linear, Operator
from pyhybrid.nn.module import Module, StateDictError
from pyhybrid.nn.summary import Summary, summarize
from pyhybrid.nn.tokens import to_map, to_tokens

__all__ = [
    "BatchNorm2d", "Conv2d", "DropPath", "LayerNorm", "Linear", "Module", "Operator", "Seed", "Sequential", "StateDictError", "Summary",
    "chain_backward", "chain_forward", "init", "prefixed", "summarize",
    "to_map", "to_tokens",
]
