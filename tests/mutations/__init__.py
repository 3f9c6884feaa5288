"""Deliberate mistakes, by family of operators."""

from mutations import acmix, activation, attention, coatnet, das, normalisation, pooling, smt
from mutations._mutation import Mutation

__all__ = ["MUTATIONS", "Mutation"]

MUTATIONS = [mutation for family in (acmix, activation, attention, coatnet, das, normalisation, pooling, smt) for mutation in family.MUTATIONS]
