"""`calibration`: what happened beside what was predicted, in groups of rows with similar predictions."""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from crosslevel.diagnostics.diagnostic import Concern, concern_of
from crosslevel.diagnostics.generalized.quantiles import Drawn
from crosslevel.diagnostics.generalized.simulator import Simulator
from crosslevel.diagnostics.generalized.statistics import CLEAR
from crosslevel.display import Column, Document, Note, Paragraph, Row, Section, Table, p_statement, percent
from crosslevel.errors import CrosslevelError
from crosslevel.estimators.generalized.fit import GeneralizedFit
from crosslevel.families import Ordinal
from crosslevel.inference.seeds import generator_from
from crosslevel.types import FloatArray

MOST_BINS = 50


@dataclass(frozen=True, kw_only=True, eq=False)
class Calibration:
    """Observed and predicted means in bins of the predictions.

    Attributes
    ----------
    frame : a row for each event and bin: event, bin, rows, predicted, observed, conf_low, conf_high (where `level` of
        the observed means lie if the model is true).
    p_value : of the largest deviation of all bins, in units of its simulated standard deviation.
    n, random_effects, level : as asked for.
    predicts : what is predicted, in words.
    """

    frame: pd.DataFrame = field(repr=False)
    p_value: float
    n: int
    random_effects: Drawn
    level: float
    predicts: str

    @property
    def events(self) -> tuple[str, ...]:
        """What is predicted: one thing, but of ordered categories an outcome above each category but the last."""
        return tuple(dict.fromkeys(self.frame["event"]))

    @property
    def told(self) -> str:
        """What the test says, and what to do."""
        if self.p_value < CLEAR:
            return "Predictions are off: the link, a predictor's curve or a random slope may be wrong."
        return "The data are as the model says."

    @property
    def sentences(self) -> tuple[str, ...]:
        """The answer with its numbers, and what to do."""
        return (f"Observed beside predicted means, largest deviation: {p_statement(self.p_value)}. {self.told}",)

    @property
    def concern(self) -> Concern:
        """The light of the test."""
        return concern_of(self.p_value)

    def document(self) -> Document:
        """The bins, to print or to show in a notebook."""
        at = "at the modes of the random effects" if self.random_effects == "conditional" else (
            "averaged over the random effects"
        )  # fmt: skip
        first = f"Rows in groups of similar predictions ({self.predicts}), {at}; observed beside predicted means."
        rows: list[Row] = []
        for event in self.events:
            if len(self.events) > 1:
                rows.append(Section(event))
            part = self.frame[self.frame["event"] == event]
            counts = part[["bin", "rows"]].to_numpy().tolist()
            means = part[["predicted", "observed", "conf_low", "conf_high"]].to_numpy().tolist()
            rows += [[*first_cells, *cells] for first_cells, cells in zip(counts, means, strict=True)]
        heads = ("Predicted", "Observed", "Low", "High")
        within = percent(self.level, decimals=0)
        meaning = f"Low, High: {within} of observed means if the model is true ({self.n} simulations)."
        columns: list[str | Column] = ["Bin", Column("Rows", format="count"), *(Column(head) for head in heads)]
        table = Table(columns, rows, notes=[meaning])
        words = f"Largest deviation: {p_statement(self.p_value)}. {self.told}"
        note = Note(words, kind="warning" if self.p_value < CLEAR else "info")
        return Document("Calibration", [Paragraph(first), table, note])

    def __str__(self) -> str:
        return str(self.document())

    __repr__ = __str__

    def _repr_html_(self) -> str:
        """Return the document for a notebook."""
        return self.document()._repr_html_()


def calibration(
    fit: GeneralizedFit,
    *,
    bins: int = 10,
    random_effects: Drawn = "conditional",
    n: int = 250,
    level: float = 0.95,
    seed: int | np.random.Generator | None = None,
) -> Calibration:
    """Compare observed with predicted means in groups of rows with similar predictions.

    Predictions at the modes follow the outcome: clusters with many events have high ones, shrunken towards the middle.
    How observed means then differ from them where the model is true is simulated: outcomes are drawn with new random
    effects, modes found for each (parameters held), and rows grouped by these predictions.

    Parameters
    ----------
    fit : a fitted generalized linear mixed model.
    bins : groups of equally many rows.
    random_effects : "conditional" predicts at the modes, "new" averages over the random effects.
    n : simulations.
    level : share of simulated means between conf_low and conf_high.
    seed : of a generator of its own; or a generator to draw from.

    Raises
    ------
    CrosslevelError : no fit of a family, weights of rows that stand for several, a wrong argument.

    Examples
    --------
    >>> import crosslevel as cl
    >>> fit = cl.mixed("minority ~ ses + (1 | school)", cl.datasets.load("hsb"), family="binomial")
    >>> found = calibration(fit, bins=4, n=50, seed=1)
    >>> found.frame[["rows", "predicted", "observed"]].round(2)
       rows  predicted  observed
    0  1797       0.02      0.01
    1  1796       0.08      0.08
    2  1796       0.25      0.24
    3  1796       0.75      0.77
    """
    if random_effects not in ("new", "conditional"):
        raise CrosslevelError(f"`random_effects` is 'new' or 'conditional'; got {random_effects!r}.")
    if isinstance(bins, bool) or not isinstance(bins, int | np.integer) or not 2 <= bins <= MOST_BINS:
        raise CrosslevelError(f"`bins` is a number of groups from 2 to {MOST_BINS}; got {bins!r}.")
    if not 0.0 < level < 1.0:
        raise CrosslevelError(f"`level` is a share between 0 and 1, as 0.95; got {level!r}.")
    model, rng = Simulator.of(fit, what="calibration", n=n), generator_from(seed)
    bins = min(bins, len(model.y))
    fixed = None if random_effects == "conditional" else model.average_parts()

    def grouped(y: FloatArray, eta: FloatArray | None) -> FloatArray:
        """Rows, predictions and observations by event and bin, (e, 3, bins)."""
        predicted = _predictions(model, eta) if eta is not None else fixed
        assert predicted is not None
        observed = _observed(model, y)
        return np.array([_in_bins(p, o, model.size, bins) for p, o in zip(predicted, observed, strict=True)])

    at_modes = random_effects == "conditional"
    data = grouped(model.y, model.state.eta if at_modes else None)
    off = np.array([
        np.subtract(drawn[:, 2], drawn[:, 1])
        for drawn in (grouped(y, model.predictor_of(y) if at_modes else None) for y in model.outcomes(rng, n))
    ])  # fmt: skip
    return Calibration(
        frame=_frame(fit, data, off, level), p_value=_largest(data[:, 2] - data[:, 1], off), n=n,
        random_effects=random_effects, level=level,
        predicts={"binary": "probabilities", "ordered": "probabilities of categories above"}.get(
            model.family.kind, "means"
        ),
    )  # fmt: skip


def _predictions(model: Simulator, eta: FloatArray) -> FloatArray:
    """Expected outcome of one trial by event and row, (e, n)."""
    if isinstance(model.family, Ordinal):
        return model.family.above(eta, model.shape).T
    return model.family.mean(eta)[None]


def _observed(model: Simulator, y: FloatArray) -> FloatArray:
    """Outcome of one trial by event and row, (e, n)."""
    if isinstance(model.family, Ordinal):
        return np.array([y > k for k in range(len(model.shape) + 1)], dtype=float)
    return np.asarray(y / model.size)[None]


def _in_bins(predicted: FloatArray, observed: FloatArray, size: FloatArray, bins: int) -> FloatArray:
    """Rows, mean predictions and mean observations (3, bins) of groups of equally many rows, trials as weights."""
    order = np.argsort(predicted, kind="stable")
    place = np.empty(len(order), dtype=np.intp)
    place[order] = np.arange(len(order)) * bins // len(order)
    rows = np.bincount(place, minlength=bins).astype(float)
    trials = np.bincount(place, weights=size, minlength=bins)
    means = [np.bincount(place, weights=size * values, minlength=bins) / trials for values in (predicted, observed)]
    return np.array([rows, *means])


def _largest(off: FloatArray, simulated: FloatArray) -> float:
    """p-value of the largest standardised deviation (e, bins) among those of simulations (n, e, bins)."""
    centre, spread = simulated.mean(axis=0), simulated.std(axis=0)
    spread = np.where(spread > 0.0, spread, np.inf)
    worst = np.max(np.abs(off - centre) / spread)
    drawn = np.max(np.abs(simulated - centre) / spread, axis=(1, 2))
    return float((1.0 + np.count_nonzero(drawn >= worst)) / (len(drawn) + 1.0))


def _frame(fit: GeneralizedFit, data: FloatArray, off: FloatArray, level: float) -> pd.DataFrame:
    """The bins of all events."""
    low, high = np.quantile(off, [0.5 - 0.5 * level, 0.5 + 0.5 * level], axis=0)
    name = fit.spec.response_name
    categories = fit.outcome.categories or ()
    events = [f"{name} above {category}" for category in categories[:-1]] or [name]
    n_bins = data.shape[2]
    least = -np.inf if fit.family.kind == "measured" else 0.0
    most = 1.0 if fit.family.kind in ("binary", "ordered", "share") else np.inf
    columns = {
        "event": np.repeat(events, n_bins),
        "bin": np.tile(np.arange(1, n_bins + 1), len(events)),
        "rows": data[:, 0].ravel().astype(np.int64),
        "predicted": data[:, 1].ravel(),
        "observed": data[:, 2].ravel(),
        "conf_low": np.clip(data[:, 1] + low, least, most).ravel(),
        "conf_high": np.clip(data[:, 1] + high, least, most).ravel(),
    }
    return pd.DataFrame(columns)
