"""Log densities of single answers with 60 digits, and their derivatives, from the textbook forms of the densities.

    python log_densities.py > log_densities.json

needs mpmath (made with 1.4.1). Each case: family, y, size, eta, shape, then l without what is free of eta and shape
(negative binomial: log y! is left out; beta and gamma: the powers -1 of y and 1 - y; binomial: the coefficient), its
first three derivatives in eta, and for every shape parameter the derivatives of l, l' and l'' in it. The smallest of
them, below 1e-40, have fewer digits than are printed, because 1 - e^-eta is met on the way.
"""

import json

from mpmath import mp, mpf

mp.dps = 60


def logistic(x):
    return 1 / (1 + mp.exp(-x))


def normal(x):
    return mp.erfc(-x / mp.sqrt(2)) / 2


def rising(k, y):
    """log Gamma(k + y) - log Gamma(k)."""
    return mp.fsum(mp.log(k + j) for j in range(int(y)))


def log_gamma(x):
    return mp.loggamma(1 + x) - mp.log(x)


def binomial(low, high):
    def log_density(y, size, eta, shape):
        return (y * mp.log(high(eta)) if y else 0) + ((size - y) * mp.log(low(eta)) if y < size else 0)

    return log_density


def poisson(y, size, eta, shape):
    return y * eta - mp.exp(eta)


def nbinom2(y, size, eta, shape):
    (k,) = shape
    mu = mp.exp(eta)
    return rising(k, y) + k * mp.log(k / (k + mu)) + y * mp.log(mu / (k + mu))


def nbinom1(y, size, eta, shape):
    (phi,) = shape
    k = mp.exp(eta) / phi
    return rising(k, y) - k * mp.log(1 + phi) + y * mp.log(phi / (1 + phi))


def gamma(y, size, eta, shape):
    (a,) = shape
    return a * mp.log(a) - log_gamma(a) + a * (mp.log(y) - eta) - a * y * mp.exp(-eta)


def beta(y, size, eta, shape):
    (phi,) = shape
    a, b = phi * logistic(eta), phi * logistic(-eta)
    return log_gamma(phi) - log_gamma(a) - log_gamma(b) + a * mp.log(y) + b * mp.log(1 - y)


def betabinomial(y, size, eta, shape):
    (phi,) = shape
    a, b = phi * logistic(eta), phi * logistic(-eta)
    return rising(a, y) + rising(b, size - y) - rising(phi, size)


def ordered(cdf):
    def log_density(y, size, eta, shape):
        thresholds = [mpf(0), *shape]
        k = int(y)
        if k == 0:
            return mp.log(cdf(-eta))
        if k == len(thresholds):
            return mp.log(cdf(eta - thresholds[-1]))
        a, b = thresholds[k - 1] - eta, thresholds[k] - eta
        return mp.log(cdf(b) - cdf(a) if a + b < 0 else cdf(-a) - cdf(-b))

    return log_density


FAMILIES = {
    "binomial logit": binomial(lambda x: logistic(-x), logistic),
    "binomial probit": binomial(lambda x: normal(-x), normal),
    "binomial cloglog": binomial(lambda x: mp.exp(-mp.exp(x)), lambda x: -mp.expm1(-mp.exp(x))),
    "poisson": poisson, "nbinom2": nbinom2, "nbinom1": nbinom1, "gamma": gamma, "beta": beta,
    "betabinomial": betabinomial, "ordinal logit": ordered(logistic), "ordinal probit": ordered(normal),
}  # fmt: skip

NEAR = [-3.25, -0.5, 0.0, 1.75, 5.5]
FAR = [-690.0, -120.0, -40.0, -12.0, 12.0, 40.0, 120.0, 690.0]
ANY = NEAR + FAR

CASES = [
    *(("binomial " + link, y, n, eta, []) for link in ("logit", "probit", "cloglog") for eta in ANY
      for y, n in ((0, 1), (1, 1), (3, 7))),
    *(("poisson", y, 1, eta, []) for eta in ANY for y in (0, 4)),
    *((name, y, 1, eta, [shape]) for name in ("nbinom2", "nbinom1") for eta in [-690.0, -40.0, -3.25, 0.0, 2.5, 40.0]
      for y in (0, 1, 5, 150) for shape in (1e-6, 0.3, 2.0, 40.0, 1e9)),
    *(("gamma", y, 1, eta, [shape]) for eta in (-40.0, -3.25, 0.0, 2.5, 40.0) for y in (1e-8, 0.9, 300.0)
      for shape in (1e-6, 0.3, 5.0, 107.0, 1e9)),
    *(("beta", y, 1, eta, [shape]) for eta in (-690.0, -40.0, -3.25, 0.0, 1.75, 40.0, 690.0)
      for y in (1e-12, 0.2, 0.999999) for shape in (1e-6, 0.3, 5.0, 107.0, 1e7)),
    *(("betabinomial", y, n, eta, [shape]) for eta in (-690.0, -40.0, -3.25, 0.0, 1.75, 40.0, 690.0)
      for y, n in ((0, 1), (1, 1), (3, 7), (100, 200), (0, 90)) for shape in (1e-6, 0.3, 5.0, 107.0, 1e9)),
    *(("ordinal " + link, y, 1, eta, shape) for link in ("logit", "probit") for eta in ANY
      for shape in ([], [1.5], [1e-12, 0.4, 6.0]) for y in range(len(shape) + 2)),
]  # fmt: skip


def exact(x):
    return mp.nstr(x, 20, min_fixed=0, max_fixed=0)


def derivatives(name, y, size, eta, shape):
    log_density = FAMILIES[name]
    y, size, eta, shape = mpf(y), mpf(size), mpf(eta), [mpf(s) for s in shape]

    def along(order, place=None):
        """Derivative of this order in eta, and once in a shape parameter."""

        def in_eta(natural):
            def at(x):
                return log_density(y, size, x, natural)

            return mp.diff(at, eta, order) if order else at(eta)

        if place is None:
            return in_eta(shape)

        def at(s):
            return in_eta([*shape[:place], s, *shape[place + 1 :]])

        return mp.diff(at, shape[place], h=shape[place] * mpf(10) ** -20)

    values = [exact(along(order)) for order in range(4)]
    return values, [[exact(along(order, place)) for place in range(len(shape))] for order in range(3)]


rows = []
for name, y, size, eta, shape in CASES:
    values, by_shape = derivatives(name, y, size, eta, shape)
    rows.append([name, y, size, eta, shape, values, by_shape])
print("[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]")
