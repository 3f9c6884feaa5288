"""DAS (card follows)."""

from pyhybrid.papers.das.gate import DASGate
from pyhybrid.papers.das.mobilenet import MobileNetV2
from pyhybrid.papers.das.resnet import ResNet

__all__ = ["DASGate", "MobileNetV2", "ResNet"]
