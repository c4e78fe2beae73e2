"""A model made ready for simulated data: everything about it but the data."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from crosslevel.covariance import BlockStructure
from crosslevel.design import CrossProducts, Design, build_design
from crosslevel.design.build import finish_design
from crosslevel.errors import CrosslevelError
from crosslevel.estimators.mixed import fit_design
from crosslevel.estimators.mixed_fit import MixedFit
from crosslevel.optimise import MAX_STEPS
from crosslevel.simulation.processes.drawn import Drawn
from crosslevel.simulation.processes.frames import template_rows
from crosslevel.simulation.processes.sampling import read_for
from crosslevel.types import IntArray, Method

if TYPE_CHECKING:
    from crosslevel.simulation.processes.process import Process


@dataclass(frozen=True, kw_only=True, eq=False)
class Model:
    """A model of simulated data, learnt from a few rows of a process.

    Attributes
    ----------
    formula : of the model; without random terms it is a regression.
    group : name of the clusters.
    template : its design in a few rows with the process's clusters.
    frame : those rows.
    given : the other arguments of `cl.mixed`.
    """

    formula: str
    group: str
    template: Design = field(repr=False)
    frame: pd.DataFrame = field(repr=False)
    given: Mapping[str, Any] = field(repr=False)

    @classmethod
    def of(cls, process: "Process", formula: str, *, method: Method = "reml", ddf: str = "auto") -> "Model":
        """A model of the data of a process.

        Parameters
        ----------
        process : where data come from.
        formula : with random terms of the process's clusters, or with none.
        method, ddf : as of `cl.mixed`.

        Raises
        ------
        CrosslevelError : the formula does not fit the process, or some of its coefficients can never be told apart.

        Examples
        --------
        >>> import numpy as np
        >>> from crosslevel.simulation.processes.process import Process
        >>> from crosslevel.simulation.processes.sampler import sampler_of
        >>> process = Process(
        ...     formula="y ~ x + (1 | g)", effects={"Intercept": 0, "x": 1}, sd={"Intercept": 1}, clusters=20, size=30
        ... )
        >>> model = Model.of(process, "y ~ x + (1 | g)")
        >>> drawn = sampler_of(process, [model.formula]).draw(np.random.SeedSequence(1).spawn(2))
        >>> list(model.fit(drawn, 0).params.index)
        ['Intercept', 'x']
        """
        parsed = read_for(process, formula)
        if parsed.random and {part.group_text for part in parsed.random} != {process.group}:
            raise CrosslevelError(
                f"The formula {formula!r} has random terms of {', '.join(part.group_text for part in parsed.random)}; "
                f"the clusters of the process are those of {process.group!r}."
            )
        frame = template_rows(process)
        template = build_design(formula, frame, clusters=None if parsed.random else [process.group])
        if template.aliased:
            raise CrosslevelError(
                f"The formula {formula!r} has {', '.join(template.aliased)}, which other columns determine in data of "
                f"{process.clusters} clusters, so that their coefficients cannot be told apart. Drop one, or simulate "
                "more clusters."
            )
        given = {
            "family": "gaussian", "method": method, "missing": "drop", "weights": None, "offset": None,
            "residual": None, "known": None, "ddf": ddf, "max_steps": MAX_STEPS, "progress": False, "algebra": "auto",
        }  # fmt: skip
        return cls(formula=formula, group=process.group, template=template, frame=frame, given=given)

    # -- the model ----------------------------------------------------------------------------------------------------
    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of its columns, the response last."""
        return self.template.products.names

    @property
    def fixed_names(self) -> tuple[str, ...]:
        """Names of the coefficients."""
        return self.template.fixed_names

    @property
    def random_names(self) -> tuple[str, ...]:
        """Names of the random effects."""
        return self.template.random_names if self.is_mixed else ()

    @property
    def is_mixed(self) -> bool:
        """Whether it has random effects."""
        return bool(self.template.factors)

    @property
    def x(self) -> IntArray:
        """(p,) positions of the fixed columns."""
        return self.template.x

    @property
    def z(self) -> IntArray:
        """(q,) positions of the columns of the random effects."""
        return self.template.z if self.is_mixed else np.zeros(0, dtype=np.int64)

    @property
    def constant(self) -> int:
        """Position of the intercept, -1 if there is none."""
        return self.template.constant

    @property
    def structure(self) -> BlockStructure:
        """Blocks of the random effects."""
        return self.template.structure

    @property
    def response(self) -> str:
        """Name of the outcome."""
        return self.names[-1]

    # -- simulated data -----------------------------------------------------------------------------------------------
    def products(self, drawn: Drawn, r: int) -> CrossProducts:
        """Cross-products of the model's columns in one replication."""
        return drawn.products(r).select(self.names)

    def design(self, drawn: Drawn, r: int) -> Design:
        """The model in one replication; what looks at rows sees those of the template.

        Raises
        ------
        DesignError : the model cannot be estimated from these data.
        """
        products = self.products(drawn, r)
        n = round(products.n_rows)
        rows = replace(self.template.rows, read=n, used=n)
        fixed = np.arange(self.template.spec.n_fixed)
        return finish_design(replace(self.template, products=products, rows=rows, x=fixed, aliased=()))

    def fit(self, drawn: Drawn, r: int) -> MixedFit:
        """The fitted model in one replication: every method of a fit that needs no rows.

        Raises
        ------
        DesignError : the model cannot be estimated from these data.
        CrosslevelError : it has no random effects.

        Warns
        -----
        ConvergenceWarning : as of `cl.mixed`.
        """
        if not self.is_mixed:
            raise CrosslevelError(f"The formula {self.formula!r} has no random terms, so it is no mixed model.")
        return fit_design(self.formula, self.frame, self.given, self.design(drawn, r))
