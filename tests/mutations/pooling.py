"""Mistakes in pooling."""

from mutations._mutation import Mutation

MUTATIONS = [
    Mutation("max_pool2d", "padded with zeros", "U = unfolded(grid.pad(x, -np.inf), grid)", "U = unfolded(grid.pad(x, 0), grid)", "value"),
    Mutation("max_pool2d", "every stride one", "U = unfolded(grid.pad(x, -np.inf), grid)",
             "U = unfolded(grid.pad(x, -np.inf), grid._replace(stride=(1, 1)))", "value"),
    Mutation("max_pool2d", "later windows overwrite instead of adding up", "[...] += np.where(m == pq, dy, 0)",
             "[...] = np.where(m == pq, dy, tap(dxp, p, q, grid.size, grid.stride))", "derivative"),
    Mutation("max_pool2d", "gradient shared by the window", "np.where(m == pq, dy, 0)", "dy / len(grid.kernel)", "derivative"),
    Mutation("avg_pool2d", "sum instead of mean", "y = S / n.astype(x.real.dtype)", "y = S + 0 * n", "value"),
    Mutation("avg_pool2d", "padding counted the other way", "if count_include_pad else (0, length)",
             "if not count_include_pad else (0, length)", "value"),
    Mutation("avg_pool2d", "gradient not divided", "dS = dy / counts(x.shape[2:], grid, count_include_pad).astype(dy.real.dtype)",
             "dS = dy", "adjoint"),
    Mutation("avg_pool2d", "only the last tap returns its gradient", "[...] += dS", "[...] = dS", "adjoint"),
    Mutation("global_avg_pool", "mean of one axis, sum of the other", "/ (H * W)                               # (F1)", "/ H", "value"),
    Mutation("global_avg_pool", "gradient not divided", "mean = dy / (H * W)", "mean = dy", "adjoint"),
]
