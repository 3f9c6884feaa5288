"""The operators as loops over their index formulas, forward and backward.

Nothing here is shared with the package: every pixel is looked up by its indices, every gradient is scattered along the
read that the forward made. Slow on purpose, and exact wherever sums of whole numbers are. `NAME(arrays..., **config)`
returns y, `NAME_backward(dy, arrays..., **config)` the gradients in the order of the arrays, None for an array that is
None.
"""

from naive._indices import box, like, pair  # noqa: F401
from naive.acmix import *  # noqa: F403
from naive.acmix import _neighbours  # noqa: F401
from naive.activation import *  # noqa: F403
from naive.attention import *  # noqa: F403
from naive.coatnet import *  # noqa: F403
from naive.das import *  # noqa: F403
from naive.hornet import *  # noqa: F403
from naive.normalisation import *  # noqa: F403
from naive.pooling import *  # noqa: F403
from naive.smt import *  # noqa: F403
