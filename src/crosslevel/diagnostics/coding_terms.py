"""Checks of terms and data: interactions, reference categories, few clusters, collinear context, kinds of outcomes."""

from collections.abc import Iterator

import numpy as np

from crosslevel.diagnostics.coding_subject import Finding, Subject, checked, fitted
from crosslevel.display import counted, fixed, percent
from crosslevel.formula.rewriting import add_slope, replace_expressions
from crosslevel.formula.terms import Term
from crosslevel.types import FloatArray

PER_PREDICTOR = 10
"""Clusters for each cluster-level predictor, below which there are few."""

INFLATED = 10.0
"""Variance inflation factor from which on a cluster-level predictor is nearly determined by others."""

FEW_VALUES = 5
"""An outcome of at most so many whole numbers looks ordinal."""


def interactions_without_slope(subject: Subject) -> Iterator[Finding]:
    """Cross-level interactions whose lower-level variable has no random slope."""
    slopes = _random_slopes(subject)
    missing: dict[str, list[Term]] = {}
    for term in subject.formula.fixed_terms:
        below = [e for e in term.expressions if subject.varies(e.text)]
        if len(below) == 1 and len(term.expressions) > 1:
            names = set(subject.columns_of(below[0].text))
            if not names <= slopes:
                missing.setdefault(below[0].text, []).append(term)
    for text, terms in missing.items():
        source = next(e.source for e in terms[0].expressions if e.text == text)
        listed = ", ".join(term.source for term in terms)
        fix = checked(subject, add_slope(subject.formula, subject.group, source))
        yield Finding(
            kind="interaction without random slope", variable=listed, severity="warning",
            words=(
                f"{listed} lets the slope of {text} differ between clusters of {':'.join(subject.group)} by what it is "
                f"multiplied with, but by nothing else: without a random slope of {text} its standard error takes rows "
                f"for independent, and is too small wherever slopes differ. {_difference(subject, fix, text)}"
            ),
            fix=fix,
        )  # fmt: skip


def reference_categories(subject: Subject) -> Iterator[Finding]:
    """Dummies among random effects that are uncorrelated with the intercept: their meaning depends on the reference."""
    for term in subject.spec.terms:
        if term.membership is not None:
            continue
        with_intercept = [any(not subject.spec.columns[j].factors for j in block.columns) for block in term.blocks]
        apart: dict[str, None] = {}
        for block, has_intercept in zip(term.blocks, with_intercept, strict=True):
            for j in block.columns:
                text = _dummy_text(subject, j)
                if text is not None and any(with_intercept) and not has_intercept:
                    apart[text] = None
        for text in apart:
            coding = subject.components[text].coding
            assert coding is not None
            fix = checked(subject, replace_expressions(subject.formula, {text: f"wec({subject.source(text)})"}))
            rows = subject.category_shares(coding.variable)
            listed = ", ".join(f"{level} {percent(share, decimals=0)}" for level, share in rows.items())
            yield Finding(
                kind="reference category", variable=text, severity="warning",
                words=(
                    f"The dummies of {text} vary over {':'.join(term.group)} uncorrelated with the intercept, which is "
                    f"that of the reference category, {coding.reference} (shares of rows: {listed}). "
                    "With another reference the model is another: its fit, its variances and the effects differ. Let "
                    "them be correlated, or code the categories about their mean."
                ),
                fix=fix,
            )  # fmt: skip


def few_clusters(subject: Subject) -> Iterator[Finding]:
    """Few clusters for the cluster-level predictors."""
    above = _context_columns(subject)
    n_clusters, q = subject.n_clusters, len(above)
    if q and n_clusters < PER_PREDICTOR * q:
        left = n_clusters - q - 1
        yield Finding(
            kind="few clusters", variable=", ".join(above), severity="warning" if left < PER_PREDICTOR else "note",
            words=(
                f"{counted(n_clusters)} clusters of {':'.join(subject.group)} for {counted(q)} cluster-level "
                f"{'predictor' if q == 1 else 'predictors'} ({', '.join(above)}): {fixed(n_clusters / q, 1)} for each, "
                f"and {left} degrees of freedom. About {PER_PREDICTOR} for each are asked for: keep to "
                f"{max(n_clusters // PER_PREDICTOR, 1)}, by theory."
            ),
        )  # fmt: skip


def single_rows(subject: Subject) -> Iterator[Finding]:
    """Clusters of one row."""
    single = int(np.count_nonzero(subject.sizes == 1.0))
    if single:
        share = percent(single / subject.n_clusters)
        yield Finding(
            kind="clusters of one row", variable=":".join(subject.group), severity="note",
            words=(
                f"{counted(single)} of {counted(subject.n_clusters)} clusters of {':'.join(subject.group)} ({share}) "
                "have one row. They say nothing of differences within clusters, and their deviations from cluster "
                "means are zero; they do count for differences between clusters."
            ),
        )  # fmt: skip


def collinear_context(subject: Subject) -> Iterator[Finding]:
    """Cluster-level predictors that others nearly determine, a cluster counting once."""
    above = [name for name in _context_columns(subject) if np.ptp(subject.values(name)) > 0.0]
    if len(above) < 2 or subject.n_clusters <= len(above) + 1:
        return
    means = np.column_stack([subject.means(subject.values(name)) for name in above])
    inflation, correlation = variance_inflation(means)
    for k, name in enumerate(above):
        if inflation[k] > INFLATED:
            others = np.abs(np.where(np.arange(len(above)) == k, 0.0, correlation[k]))
            other = int(np.argmax(others))
            if k < other or inflation[other] <= INFLATED:
                yield Finding(
                    kind="collinear context", variable=name, severity="warning",
                    words=(
                        f"Over the {counted(subject.n_clusters)} clusters {name} is nearly determined by the other "
                        f"cluster-level predictors (variance inflation {fixed(float(inflation[k]), 1)}), most by "
                        f"{above[other]} (correlation {fixed(float(correlation[k, other]), 2)}). Their effects can "
                        "hardly be told apart: leave one out, or combine them."
                    ),
                )  # fmt: skip


def unlike_numbers(subject: Subject) -> Iterator[Finding]:
    """Outcomes that look binary or ordinal."""
    values = np.unique(subject.spec.response(subject.columns, mask=subject.mask))
    name = subject.spec.response_name
    whole = bool(np.all(values == np.round(values)))
    if len(values) == 2:
        words = (
            f"The outcome {name} has two values ({values[0]:g} and {values[1]:g}). A linear model of it is one of "
            "probabilities: its coefficients are differences of shares, its residual variance is not constant, and "
            "predictions may leave the range. Say so, or use a model for binary outcomes."
        )
    elif whole and len(values) <= FEW_VALUES:
        words = (
            f"The outcome {name} has {len(values)} values, all whole ({', '.join(f'{v:g}' for v in values)}). A linear "
            "model takes the steps between them to be equal. Say so, or use a model for ordered outcomes."
        )
    else:
        return
    yield Finding(kind="outcome", variable=name, severity="note", words=words)


def variance_inflation(values: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Variance inflation factors (k,) and correlations (k, k) of columns (J, k); infinite where determined.

    Examples
    --------
    >>> variance_inflation(np.array([[0.0, 1.0], [1.0, 0.0], [2.0, 3.0], [3.0, 2.0]]))[0].round(4).tolist()
    [1.5625, 1.5625]
    """
    correlation = np.atleast_2d(np.corrcoef(values, rowvar=False))
    sizes, vectors = np.linalg.eigh(correlation)
    sizes = np.maximum(sizes, 1e-15)
    return np.asarray(np.sum(vectors**2 / sizes, axis=1)), correlation


# -- what the checks look at --------------------------------------------------------------------------------------
def _random_slopes(subject: Subject) -> set[str]:
    """Component columns that have a random slope of their own over the clusters."""
    out = set()
    for term in subject.spec.terms:
        if term.membership is None and set(term.group) == set(subject.group):
            for block in term.blocks:
                columns = (subject.spec.columns[j] for j in block.columns)
                out |= {column.factors[0] for column in columns if len(column.factors) == 1}
    return out


def _context_columns(subject: Subject) -> list[str]:
    """Names of the main-effect columns that are constant within clusters."""
    texts = [text for text in subject.predictors if not subject.varies(text)]
    return [name for text in texts for name in subject.columns_of(text)]


def _dummy_text(subject: Subject, j: int) -> str | None:
    """The expression of a treatment-coded category that stands in a random term by itself."""
    column = subject.spec.columns[j]
    if column.kind != "categorical":
        return None
    text = next(text for text, component in subject.components.items() if column.factors[0] in component.names)
    coding = subject.components[text].coding
    return text if coding is not None and coding.kind == "treatment" and coding.variable == text else None


def _difference(subject: Subject, fix: str, text: str) -> str:
    """How much slopes differ, and what that does to the standard errors of the interactions, in words."""
    base = subject.formula.text if subject.formula.random else ""
    small, large = (fitted(formula, subject.data) if formula else None for formula in (base, fix))
    if large is None:
        return ""
    frame = large.varcomp()
    names = set(subject.columns_of(text))
    own = frame[(frame["kind"] == "variance") & frame["term1"].isin(names)]
    told = " and ".join(fixed(float(sd), 3) for sd in own["std_dev"])
    words = f"Its standard deviation between clusters is estimated as {told}" if told else ""
    if small is None or not words:
        return f"{words}. " if words else ""
    below = small.bse.index
    chosen = [name for name in below if names & set(name.split(":")) and ":" in name and name in large.bse.index]
    changes = [(name, float(small.bse[name]), float(large.bse[name])) for name in chosen]
    errors = [f"{name} from {fixed(before, 3)} to {fixed(after, 3)}" for name, before, after in changes]
    return f"{words}; with it the standard error changes for {', '.join(errors)}." if errors else f"{words}."
