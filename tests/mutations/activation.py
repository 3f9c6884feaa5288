"""Mistakes in what acts on every number by itself."""

from mutations._mutation import Mutation

MUTATIONS = [
    Mutation("add", "difference", "    y = a + b  ", "    y = a - b  ", "value"),
    Mutation("add", "the second path gets nothing", "dy.copy(), dy.copy()", "dy.copy(), np.zeros_like(dy)", "derivative"),
    Mutation("erf", "complement not subtracted from one", "rest - 1, 1 - rest)", "-rest, rest)", "value"),
    Mutation("erf", "last terms of the series left out", "polynomial(SERIES, near * near)", "polynomial(SERIES[:9], near * near)", "value"),
    Mutation("erf", "factor 2/√π forgotten", "dy * (2 / math.sqrt(math.pi) * gauss(", "dy * (gauss(", "derivative"),
    Mutation("gelu", "argument of erf not divided by √2", "scaled_complement(math.sqrt(0.5) * np.where(",
             "scaled_complement(1.0 * np.where(", "value"),
    Mutation("gelu", "cubic term of the approximation forgotten", "(b + 0.044715 * b * b * b)", "b", "value"),
    Mutation("gelu", "density left out of the derivative", "dy * (Phi + within(cache.x, FAR) * phi)", "dy * Phi", "derivative"),
    Mutation("gelu", "inner derivative without its three", "(1 + 3 * 0.044715 * b * b)", "(1 + 0.044715 * b * b)", "derivative"),
    Mutation("relu", "absolute value", "np.zeros_like(x), x)", "-x, x)", "value"),
    Mutation("relu", "dy passes everywhere", "np.where(cache.x.real <= 0, np.zeros_like(dy), dy)", "dy + 0", "derivative"),
    Mutation("sigmoid", "left half not reflected", "np.where(x.real < 0, e * r, r), e * r * r", "r, e * r * r", "value"),
    Mutation("sigmoid", "σ instead of σ(1-σ)", "dy * value_and_slope(cache.x)[1]", "dy * value_and_slope(cache.x)[0]", "derivative"),
    Mutation("silu", "sigmoid of the opposite", "value_and_slope(x)   ", "value_and_slope(-x)   ", "value"),
    Mutation("silu", "x acts through the sigmoid only", "dy * (s + within(cache.x, FAR) * slope)", "dy * within(cache.x, FAR) * slope",
             "derivative"),
]
