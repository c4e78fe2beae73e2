"""Whether the search ended at the optimum, and whether that lies inside the space of parameters."""

from collections.abc import Iterator

from crosslevel.diagnostics.checks.light import Light
from crosslevel.diagnostics.checks.subject import Subject
from crosslevel.diagnostics.diagnostic import AnyFit
from crosslevel.estimators.generalized import notes as generalized
from crosslevel.estimators.generalized.fit import GeneralizedFit
from crosslevel.estimators.notes import notes_on_clusters, notes_on_rows, notes_on_singular
from crosslevel.estimators.ols_fit import OLSFit


def convergence(subject: Subject) -> Iterator[Light]:
    """Whether the optimum was reached."""
    fit = subject.fit
    if isinstance(fit, OLSFit):
        return
    if fit.converged:
        yield Light(name="Convergence", concern="none", finding=fit.status)
        return
    yield Light(
        name="Convergence", concern="act", finding=fit.status,
        advice="Do not report these estimates. Centre and scale predictors, drop random slopes that hardly vary "
        "(cl.select), or give the search more steps: max_steps=2000.",
    )  # fmt: skip


def singularity(subject: Subject) -> Iterator[Light]:
    """Whether a variance is zero or random effects are perfectly correlated."""
    fit = subject.fit
    if isinstance(fit, OLSFit):
        return
    found = _on_singular(fit)
    for note in found:
        words, _, advice = note.partition(". ")
        yield Light(name="Singular fit", concern="look", finding=f"{words}.", advice=advice)
    if not found:
        yield Light(
            name="Singular fit", concern="none",
            finding="No variance is zero, and no random effects are perfectly correlated.",
        )  # fmt: skip


def _on_singular(fit: AnyFit) -> list[str]:
    """What the fit remarks on random effects without variance, or perfectly correlated."""
    if isinstance(fit, OLSFit):
        return []
    if isinstance(fit, GeneralizedFit):
        return list(generalized.notes_on_singular(fit.design, fit.solution))
    return notes_on_singular(fit.design, fit.solution)


def notes(subject: Subject) -> Iterator[Light]:
    """What the fit itself remarks and no other check says."""
    fit, design = subject.fit, subject.design
    told = {*notes_on_clusters(design), *_on_singular(fit)}
    if design.rows.dropped:
        told.add(notes_on_rows(design)[-1])
    for note in fit.notes:
        if note not in told:
            words, _, advice = note.partition(". ")
            yield Light(name="Remark", concern="look", finding=f"{words.rstrip('.')}.", advice=advice)


def rows(subject: Subject) -> Iterator[Light]:
    """Rows dropped for missing values."""
    found = subject.design.rows
    share = found.dropped / found.read
    if not found.dropped:
        yield Light(name="Missing values", concern="none", finding="No row was dropped for missing values.")
        return
    most = max(found.missing, key=lambda name: found.missing[name])
    yield Light(
        name="Missing values", concern="act" if share > 0.2 else "look" if share > 0.05 else "none",
        finding=f"{found.dropped:,} of {found.read:,} rows ({100 * share:.1f} %) were dropped for missing values, most "
        f"of them in {most} ({found.missing[most]:,}).",
        advice="" if share <= 0.05 else "Look at them by cluster (cl.missing_patterns); estimates hold for the others "
        "only if values are missing at random given the model. Impute if they are not.",
    )  # fmt: skip
