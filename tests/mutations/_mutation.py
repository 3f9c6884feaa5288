"""A deliberate mistake in an operator."""

from typing import NamedTuple


class Mutation(NamedTuple):
    operator: str
    what: str
    old: str
    new: str
    caught_by: str      # a law that must be among those that fail
