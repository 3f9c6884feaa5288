"""Mistakes in the linear map and in the normalisations."""

from mutations._mutation import Mutation

MUTATIONS = [
    Mutation("linear", "bias subtracted", "x @ weight.T + bias ", "x @ weight.T - bias ", "value"),
    Mutation("linear", "gradients of the last axis but one forgotten", "int(np.prod(x.shape[:-1])), x.shape[-1])",
             "int(np.prod(x.shape[:-1])), x.shape[-1])[:1]", "derivative"),
    Mutation("linear", "weight gradient of the positive part of x", "tokens(dy).T @ tokens(x) ", "tokens(dy).T @ np.maximum(tokens(x), 0) ",
             "derivative"),
    Mutation("linear", "channels first: the table read in the wrong order", "np.ascontiguousarray(x.swapaxes(-1, -2))",
             "x.reshape(x.swapaxes(-1, -2).shape)", "value"),
    Mutation("layer_norm", "unbiased variance",
             "((x - m) * (x - m)).mean(axis, keepdims=True)",
             "((x - m) * (x - m)).sum(axis, keepdims=True) / max(x.shape[axis] - 1, 1)", "value"),
    Mutation("layer_norm", "eps outside the root", "keepdims=True) + float(eps)) ", "keepdims=True)) - float(eps) ", "value"),
    Mutation("layer_norm", "mean of the gradient forgotten", "(dx_hat - mean - x_hat * slope)", "(dx_hat - x_hat * slope)", "derivative"),
    Mutation("layer_norm", "statistics taken as constants", "(dx_hat - mean - x_hat * slope)", "dx_hat", "derivative"),
    Mutation("layer_norm", "weight gradient from x instead of x̂", "(dy * x_hat).sum(tokens) ", "(dy * x).sum(tokens) ", "derivative"),
    Mutation("batch_norm", "variance as mean square", "(xc * xc).mean(", "(x * x).mean(", "value"),
    Mutation("batch_norm", "statistics of every image by itself", "return (0, *range(2, x.ndim))",
             "return (0, *range(2, x.ndim))[:1]", "value"),
    Mutation("batch_norm", "statistics taken as constants", "(dx_hat - slopes)", "dx_hat", "derivative"),
    Mutation("batch_norm", "batch statistics differentiated in evaluation", "    dx = maps(inv, x) * dx_hat ",
             "    dx = maps(inv, x) * (dx_hat - maps(weight * dbias / max(n, 1), x)) ", "derivative"),
    Mutation("batch_norm", "gradient of the running variance doubled", "-0.5 * (inv", "-(inv", "derivative"),
    Mutation("batch_norm_act", "activation left out of the gradient", "dz = act.backward(dy, act.forward(z)[1]).x ", "dz = dy ",
             "derivative"),
    Mutation("batch_norm_act", "slope of the activation at x", "act.forward(z)[1]", "act.forward(x)[1]", "derivative"),
    Mutation("batch_norm_act", "statistics taken as constants", "running_mean, running_var, eps, mean, var)\n    return",
             "mean, var, eps, mean, var)\n    return", "derivative"),
]
