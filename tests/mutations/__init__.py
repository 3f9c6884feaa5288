"""Deliberate mistakes, by family of operators."""

from mutations import acmix
from mutations._mutation import Mutation

__all__ = ["MUTATIONS", "Mutation"]

MUTATIONS = [mutation for family in (acmix,) for mutation in family.MUTATIONS]
