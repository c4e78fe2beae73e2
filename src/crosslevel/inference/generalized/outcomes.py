"""Outcomes drawn from a generalized model, row by row, in the order in which its likelihood holds them."""

from dataclasses import dataclass, field, replace

import numpy as np

from crosslevel.design.response_rows import ResponseRows, ResponseTerm
from crosslevel.types import FloatArray


@dataclass(frozen=True, kw_only=True, eq=False)
class OutcomeDraws:
    """Draws u ~ N(0, I), then y from the family at eta = offset + X beta + sum_k Z_k Lambda_k u_k.

    Attributes
    ----------
    rows : the data; their outcome is not looked at.
    fixed : (n,) offset + X beta.
    factors : for each grouping factor (q, q) Lambda, in working coordinates.
    shape : (m,) natural shape parameters.
    """

    rows: ResponseRows = field(repr=False)
    fixed: FloatArray = field(repr=False)
    factors: tuple[FloatArray, ...]
    shape: FloatArray

    @classmethod
    def of(
        cls, rows: ResponseRows, beta: FloatArray, factors: tuple[FloatArray, ...], shape: FloatArray
    ) -> "OutcomeDraws":
        """At working coefficients beta (p,)."""
        return cls(rows=rows, fixed=rows.offset + rows.x @ beta, factors=factors, shape=shape)

    def draw(self, rng: np.random.Generator) -> FloatArray:
        """One outcome (n,), in the order of the rows."""
        eta = self.fixed.copy()
        for term, factor in zip(self.rows.terms, self.factors, strict=True):
            effects = rng.standard_normal((term.n_levels, term.q)) @ factor.T
            eta += predicted(term, effects)
        return self.rows.family.draw(rng, eta, self.rows.size, self.shape)

    def drawn(self, rng: np.random.Generator) -> ResponseRows:
        """The rows with an outcome drawn anew."""
        return replace(self.rows, y=self.draw(rng))


def predicted(term: ResponseTerm, effects: FloatArray) -> FloatArray:
    """What working random effects (J, q) of one factor add to the linear predictor, (n,)."""
    if not term.members:
        return np.asarray(np.einsum("iq,iq->i", term.z, effects[term.codes]))
    out = np.zeros(len(term.z))
    for codes, share in term.members:
        inside = codes >= 0
        own = np.einsum("iq,iq->i", term.z[inside], effects[codes[inside]])
        out[inside] += own if share is None else own * share[inside]
    return out
