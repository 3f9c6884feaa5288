"""What the fault tests must know of every operator, by family.

AXES     what can be zero, as draws of `check.cases`; the values are those it takes otherwise
REFUSED  draws for which zero is no legal size, with the constraint that says so
BUSY     shapes and configuration at which several threads are worth waking and vectors have tails; about a million operations each
"""

from faults.tables import acmix, activation, attention, coatnet, das, hornet, normalisation, pooling

FAMILIES = (acmix, activation, attention, coatnet, das, hornet, normalisation, pooling)
AXES = {name: axes for family in FAMILIES for name, axes in family.AXES.items()}
REFUSED = {name: labels for family in FAMILIES for name, labels in family.REFUSED.items()}
BUSY = {name: sizes for family in FAMILIES for name, sizes in family.BUSY.items()}
