"""Checks of centring: context variables that vary, zeros outside of the data, effects within and between mixed."""

from collections.abc import Iterator

import numpy as np

from crosslevel.diagnostics.coding_subject import Finding, Subject, checked, correlation, fitted
from crosslevel.display import counted, fixed, number, p_statement
from crosslevel.errors import CrosslevelError
from crosslevel.estimators.mixed_fit import MixedFit
from crosslevel.estimators.mundlak import mundlak
from crosslevel.formula.components import ClusterMeans
from crosslevel.formula.rewriting import composed, replace_expressions
from crosslevel.types import BoolArray

MOSTLY = 0.95
"""Share of a numeric variable's variance between clusters from which on it is taken for one of clusters."""

SINGLE = 0.8
"""Share of the clusters with one value from which on a variable is taken for one of clusters."""

TAIL = 0.025
"""Share of the rows beyond which zero is taken to be outside of the data."""

CLEAR = 0.05
"""Level of the test of equal effects."""

DIFFERENT, SOME = 0.001, 0.01
"""Level of the test that cluster means are equal, and the intraclass correlation from which on differences count."""

SAME = 0.99
"""Correlation over clusters from which on a variable is taken for the cluster means of another."""

NAMED = 5
"""Clusters that are named."""


def context_that_varies(subject: Subject) -> Iterator[Finding]:
    """Variables of clusters, named as such or constant nearly everywhere, that vary within some."""
    for variable in dict.fromkeys((*subject.context, *_nearly_constant(subject))):
        users = [text for text in subject.predictors if variable in subject.components[text].variables]
        if users and all(subject.is_centred_by_cluster(text) for text in users):
            continue
        several, odd = _several_values(subject, variable)
        if not np.any(several):
            continue
        names = [str(subject.levels[k]) for k in np.flatnonzero(several)]
        listed = ", ".join(names[:NAMED]) + (f" and {counted(len(names) - NAMED)} more" if len(names) > NAMED else "")
        raw = [text for text in users if not subject.is_centred_by_cluster(text)]
        yield Finding(
            kind="context varies within clusters", variable=variable, severity="warning",
            words=(
                f"{variable} is used as a variable of {_group(subject)}, but varies within {counted(len(names))} of "
                f"{counted(subject.n_clusters)} clusters ({listed}): {counted(odd)} rows differ from the commonest "
                "value of their cluster. Its coefficient mixes a difference between clusters with one within them, and "
                "its degrees of freedom are those of rows. If that is an error, correct the data; if not, take the "
                "cluster means for the context effect, and the deviations beside them."
            ),
            fix=_within_between(subject, raw),
        )  # fmt: skip


def uncentred_slopes(subject: Subject) -> Iterator[Finding]:
    """Random slopes of predictors whose zero lies outside of the data, beside a random intercept."""
    seen: set[str] = set()
    for term in subject.spec.terms:
        if term.membership is not None:
            continue
        constants = [b for b, block in enumerate(term.blocks) for j in block.columns if not _factors(subject, j)]
        for b, block in enumerate(term.blocks):
            for j in block.columns:
                text = _numeric_text(subject, j)
                if not constants or text is None or text in seen:
                    continue
                seen.add(text)
                yield from _uncentred(subject, text, ":".join(term.group), together=b in constants)


def mixed_effects(subject: Subject) -> Iterator[Finding]:
    """Predictors that vary within clusters and whose cluster means differ, with one coefficient for both."""
    found = {text: _icc(subject, text) for text in _uncentred_predictors(subject)}
    found = {text: value for text, value in found.items() if value is not None}
    if not found:
        return
    fit = _with_means(subject, list(found))
    for text, icc in found.items():
        assert icc is not None
        test, p = _equality(fit, subject, text)
        differ = p is not None and p < CLEAR
        verdict = (
            "They differ, so that the coefficient is neither."
            if differ
            else "They may be equal; written apart, the reader sees both."
        )
        yield Finding(
            kind="within and between effects mixed", variable=text, severity="warning" if differ else "note",
            words=(
                f"{text} varies within clusters of {_group(subject)}, and its cluster means differ too (intraclass "
                f"correlation {fixed(icc, 2)}): one coefficient stands for its effect within clusters and for that of "
                f"the means. {test}{verdict}"
            ),
            fix=_within_between(subject, [text]),
        )  # fmt: skip


# -- context variables --------------------------------------------------------------------------------------------
def _nearly_constant(subject: Subject) -> Iterator[str]:
    """Variables of the formula that are constant in nearly all clusters, but not in all."""
    for text in subject.predictors:
        component = subject.components[text]
        if len(component.variables) != 1 or subject.is_centred_by_cluster(text) or not subject.varies(text):
            continue
        several, _ = _several_values(subject, component.variables[0])
        mostly = component.coding is not None or subject.anova(subject.columns_of(text)[0]).icc > MOSTLY
        if mostly and np.mean(several) < 1.0 - SINGLE:
            yield component.variables[0]


def _several_values(subject: Subject, variable: str) -> tuple[BoolArray, int]:
    """Clusters (J,) with several values of a data column, and rows that differ from their cluster's commonest."""
    _, codes = np.unique(subject.raw(variable), return_inverse=True)
    pairs, counts = np.unique(subject.codes.astype(np.int64) * (int(codes.max()) + 1) + codes, return_counts=True)
    clusters = pairs // (int(codes.max()) + 1)
    commonest = np.zeros(subject.n_clusters)
    np.maximum.at(commonest, clusters, counts)
    return np.bincount(clusters, minlength=subject.n_clusters) > 1, int(np.sum(subject.sizes - commonest))


# -- zeros --------------------------------------------------------------------------------------------------------
def _factors(subject: Subject, j: int) -> tuple[str, ...]:
    """Component columns of a design column."""
    return subject.spec.columns[j].factors


def _numeric_text(subject: Subject, j: int) -> str | None:
    """The expression of a numeric column that is no interaction and no deviation from cluster means."""
    column = subject.spec.columns[j]
    if column.kind != "numeric":
        return None
    text = next(text for text, component in subject.components.items() if column.factors[0] in component.names)
    origin = subject.components[text].origin
    return None if isinstance(origin, ClusterMeans) and origin.kind == "within" else text


def _uncentred(subject: Subject, text: str, group: str, *, together: bool) -> Iterator[Finding]:
    """The finding for one predictor, if zero lies outside of its values."""
    values = subject.values(subject.columns_of(text)[0])
    low, high = np.quantile(values, [TAIL, 1.0 - TAIL])
    if not (low > 0.0 or high < 0.0):
        return
    distance = abs(values.mean()) / values.std()
    what = (
        "its variance, and its correlation with the slope,"
        if together
        else "its variance, and what it means that intercept and slope are uncorrelated (they are at one point only),"
    )
    numbers = _at_zero_and_mean(subject, text, group, float(values.mean())) if together else ""
    apart = subject.has_means_of(text) or _is_beside_its_means(subject, text)
    differ = subject.varies(text) and _icc(subject, text) is not None and not apart
    center = checked(subject, replace_expressions(subject.formula, {text: f"center({subject.source(text)})"}))
    yield Finding(
        kind="uncentred slope", variable=text, severity="warning",
        words=(
            f"The slope of {text} varies over {group} beside the intercept, and {text} runs from "
            f"{number(float(values.min()))} to {number(float(values.max()))} (mean {number(float(values.mean()))}): "
            f"zero lies {fixed(distance, 1)} standard deviations off, where there are no rows. The random intercept is "
            f"about that point: {what} depend on the origin of the scale. {numbers}Centre {text}."
        ),
        fix=(_within_between(subject, [text]) if differ else "") or center,
    )  # fmt: skip


def _at_zero_and_mean(subject: Subject, text: str, group: str, mean: float) -> str:
    """Intercept's standard deviation and correlation with the slope as written and at the mean, in words.

    Var(b0 + m b1) = v00 + 2 m v01 + m^2 v11,   Cov(b0 + m b1, b1) = v01 + m v11.
    """
    fit, slope = fitted(subject.formula.text, subject.data), subject.columns_of(text)[0]
    if fit is None:
        return ""
    covariance = fit.cov_re[group].loc[["Intercept", slope], ["Intercept", slope]].to_numpy()
    told = []
    for shift in (0.0, mean):
        turn = np.array([[1.0, shift], [0.0, 1.0]])
        moved = turn @ covariance @ turn.T
        sd = np.sqrt(np.maximum(np.diag(moved), 0.0))
        if not np.all(sd > 0.0):
            return ""
        told.append(f"{number(float(sd[0]))} and {fixed(float(moved[0, 1] / (sd[0] * sd[1])), 2)}")
    return (
        f"As written, the intercept's standard deviation and its correlation with the slope are {told[0]}; at the mean "
        f"of {text} they are {told[1]}. "
    )


# -- within and between -------------------------------------------------------------------------------------------
def _uncentred_predictors(subject: Subject) -> Iterator[str]:
    """Predictors that vary within clusters, without their cluster means in the formula; no variable of clusters."""
    above = {*subject.context, *_nearly_constant(subject)}
    for text in subject.predictors:
        component = subject.components[text]
        if subject.is_centred_by_cluster(text) or above & set(component.variables) or not component.variables:
            continue
        if subject.varies(text) and not subject.has_means_of(text) and not _is_beside_its_means(subject, text):
            yield text


def _is_beside_its_means(subject: Subject, text: str) -> bool:
    """Whether a cluster-level predictor of the formula is the cluster means of a predictor under another name."""
    names = subject.columns_of(text)
    if len(names) != 1:
        return False
    means = subject.means(subject.values(names[0]))
    above = [name for other in subject.predictors if not subject.varies(other) for name in subject.columns_of(other)]
    others = [subject.means(subject.values(name)) for name in above]
    return any(abs(correlation(means, other)) > SAME for other in others)


def _icc(subject: Subject, text: str) -> float | None:
    """The largest intraclass correlation of an expression's columns; None where cluster means hardly differ."""
    found = [subject.anova(name) for name in subject.columns_of(text)]
    clear = [each.icc for each in found if each.p_value < DIFFERENT and each.icc > SOME]
    return max(clear, default=None)


def _with_means(subject: Subject, texts: list[str]) -> MixedFit | None:
    """A random-intercept model of the main effects with the cluster means of some predictors; None if there is none."""
    terms = tuple(term for term in subject.formula.fixed_terms if len(term.expressions) <= 1)
    keep = [e.source for text, e in subject.predictors.items() if text not in texts and subject.varies(text)]
    try:
        text = mundlak(composed(subject.formula, terms, [], {}), subject.data, group=":".join(subject.group), keep=keep)
    except CrosslevelError:
        return None
    return fitted(text, subject.data)


def _equality(fit: MixedFit | None, subject: Subject, text: str) -> tuple[str, float | None]:
    """What a test of equal effects within and between says, in words, and its p-value."""
    if fit is None:
        return "", None
    variables, means = set(subject.components[text].variables), []
    for component in fit.spec.components:
        origin = component.origin
        if isinstance(origin, ClusterMeans) and set(origin.argument.variables) == variables:
            means += [name for name in component.names if name in fit.params.index]
    if not means:
        return "", None
    p = float(fit.contrast(means, joint=True)["p_value"].iloc[0])
    if len(means) == 1 and text in fit.params.index:
        within = float(fit.params[text])
        between = within + float(fit.params[means[0]])
        return f"Within it is {number(within)}, between {number(between)} (test of equality: {p_statement(p)}). ", p
    return f"The test that both are equal has {p_statement(p)}. ", p


def _within_between(subject: Subject, texts: list[str]) -> str:
    """The formula with deviations and cluster means of some predictors; "" if it cannot be written."""
    if not texts:
        return ""
    others = [e.source for text, e in subject.predictors.items() if text not in texts and subject.varies(text)]
    keep = [source for source in others if not _beside(subject, source, texts)]
    try:
        fix = mundlak(
            subject.formula.text, subject.data, group=":".join(subject.group), kind="within-between", keep=keep,
            random=False,
        )  # fmt: skip
    except CrosslevelError:
        return ""
    return checked(subject, fix)


def _beside(subject: Subject, source: str, texts: list[str]) -> bool:
    """Whether a predictor stands in one product with some others."""
    for term in subject.formula.fixed_terms:
        own = {e.source for e in term.expressions}
        if source in own and any(e.text in texts for e in term.expressions):
            return True
    return False


def _group(subject: Subject) -> str:
    """The clusters in words."""
    return ":".join(subject.group)
