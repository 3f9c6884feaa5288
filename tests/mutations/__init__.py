"""Deliberate mistakes, by family of operators."""

from mutations import acmix, activation, attention, coatnet, das, normalisation, pooling, smt
from mutations._mutation import Mutation

__all__ = ["MUTATIONS", "Mutation"]

FAMILIES = (acmix, activation, attention, coatnet, das, normalisation, pooling, smt)
MUTATIONS = [mutation for family in FAMILIES for mutation in family.MUTATIONS]
