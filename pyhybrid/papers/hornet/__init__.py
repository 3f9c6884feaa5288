"""HorNet: products of the pixels with their surroundings, gate after gate, where a Transformer has attention."""

from pyhybrid.papers.hornet.block import Block
from pyhybrid.papers.hornet.filters import GFNetFilter, GlobalFilter, GlobalLocalFilter
from pyhybrid.papers.hornet.gnconv import GnConv
from pyhybrid.papers.hornet.horfpn import GNFPN, GNConvModule, SegmentationFusion
from pyhybrid.papers.hornet.model import HorNet, HorNetFeatures, downsampling, stem

__all__ = [
    "GNFPN", "Block", "GFNetFilter", "GNConvModule", "GlobalFilter", "GlobalLocalFilter", "GnConv", "HorNet", "HorNetFeatures",
    "SegmentationFusion", "downsampling", "stem",
]
