"""Layers: named parameters with an explicit forward and backward, nothing recorded in between."""

from pyhybrid.nn import init
from pyhybrid.nn.activation import ReLU6
from pyhybrid.nn.batch_norm import BatchNorm2d
from pyhybrid.nn.chain import Sequential, chain_backward, chain_forward, prefixed
from pyhybrid.nn.deformable import DeformConv2d
from pyhybrid.nn.init import Seed
from pyhybrid.nn.layers import Conv2d, DropPath, LayerNorm, Linear, Operator, drop_path_rates
from pyhybrid.nn.module import Joined, Module, StateDictError
from pyhybrid.nn.normalisation import GroupNorm, InstanceNorm2d
from pyhybrid.nn.residual import Residual, add
from pyhybrid.nn.summary import Summary, summarize
from pyhybrid.nn.tokens import join_heads, split_heads, to_map, to_tokens

__all__ = [
    "BatchNorm2d", "Conv2d", "DeformConv2d", "DropPath", "GroupNorm", "InstanceNorm2d", "Joined", "LayerNorm", "Linear", "Module",
    "Operator", "ReLU6", "Residual", "Seed", "Sequential", "StateDictError", "Summary", "add", "chain_backward", "chain_forward",
    "drop_path_rates", "init", "join_heads", "prefixed", "split_heads", "summarize", "to_map", "to_tokens",
]
