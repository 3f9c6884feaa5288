"""The papers: for each a card (what is computed where, where paper and code differ), its blocks and models."""

from pyhybrid.papers._card import Card, Difference, Equation, find

__all__ = ["Card", "Difference", "Equation", "find"]
