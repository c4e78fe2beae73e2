"""`check_coding`: whether a formula is coded and centred as the data and the question need it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import pandas as pd

from crosslevel.diagnostics.coding_centring import context_that_varies, mixed_effects, uncentred_slopes
from crosslevel.diagnostics.coding_codes import missing_codes
from crosslevel.diagnostics.coding_subject import Finding as Finding
from crosslevel.diagnostics.coding_subject import Subject
from crosslevel.diagnostics.coding_terms import (
    collinear_context,
    few_clusters,
    interactions_without_slope,
    reference_categories,
    single_rows,
    unlike_numbers,
)
from crosslevel.display import Block, Document, Items, Note, Paragraph, counted
from crosslevel.errors import CrosslevelError
from crosslevel.types import Frame

CHECKS = (
    missing_codes, context_that_varies, uncentred_slopes, mixed_effects, interactions_without_slope,
    reference_categories, few_clusters, single_rows, collinear_context, unlike_numbers,
)  # fmt: skip
"""Each yields its findings; the fixes of earlier ones come first."""

ROUNDS = 12
"""Fixes that are made one after another at most."""


@dataclass(frozen=True, kw_only=True, eq=False)
class CodingReport:
    """What there is to say of a formula's coding and centring.

    Attributes
    ----------
    formula : as it was given.
    group : the clusters.
    n_rows, n_clusters : rows used, and clusters.
    findings : what was found, each with words and, where there is one, a formula that avoids it.
    fixed : the formula that avoids all that a formula can avoid; the same as `formula` if nothing.
    """

    formula: str
    group: str
    n_rows: int
    n_clusters: int
    findings: tuple[Finding, ...] = field(repr=False)
    fixed: str

    @property
    def frame(self) -> pd.DataFrame:
        """A row for each finding: kind, variable, severity, words, fix."""
        columns = ["kind", "variable", "severity", "words", "fix"]
        return pd.DataFrame([[getattr(each, name) for name in columns] for each in self.findings], columns=columns)

    @property
    def warnings(self) -> tuple[Finding, ...]:
        """The findings that are likely to mislead."""
        return tuple(each for each in self.findings if each.severity == "warning")

    def document(self) -> Document:
        """The findings in words, with formulas."""
        return Document("Coding and centring", list(_blocks(self)))

    def __str__(self) -> str:
        return str(self.document())

    __repr__ = __str__

    def _repr_html_(self) -> str:
        """Return the report for a notebook."""
        return self.document()._repr_html_()


def check_coding(
    formula: str, data: Frame, group: str | None = None, *, context: str | Sequence[str] = ()
) -> CodingReport:
    """Check how a multilevel formula is coded and centred, and explain what is found, with formulas that avoid it.

    What is looked for: numbers that look like codes of missing answers; cluster-level variables that vary within
    clusters; random slopes of predictors whose zero lies outside of the data, so that the random intercept is about
    nowhere; predictors of rows whose cluster means differ too, so that one coefficient mixes effects within and between
    clusters; cross-level interactions without a random slope of the lower-level variable; dummies among uncorrelated
    random effects, where the reference category matters; few clusters for the cluster-level predictors; clusters of one
    row; cluster-level predictors that nearly determine each other; outcomes that are no measurements.

    Parameters
    ----------
    formula : as for `mixed`, or without random terms if `group` is given.
    data : a frame of pandas, polars, pyarrow or any library that narwhals supports.
    group : the column of the clusters, or columns as in "a:b"; by default those of the random term with the fewest.
    context : data columns that describe clusters, whether or not they do so without exception.

    Returns
    -------
    CodingReport : prints as sentences; `.findings`, `.frame`, `.fixed` (the formula with all fixes).

    Raises
    ------
    CrosslevelError : a wrong formula, or columns that the data lack.

    Source
    ------
    Enders & Tofighi (2007), Psychol. Methods 12: 121-138 (centring); Bell & Jones (2015), Polit. Sci. Res. Methods 3:
    133-153 (within and between); Heisig & Schaeffer (2019), Eur. Sociol. Rev. 35: 258-279 (random slopes of
    lower-level variables in cross-level interactions).

    Examples
    --------
    >>> import crosslevel as cl
    >>> report = cl.check_coding("mathach ~ ses + sector + (1 | school)", cl.datasets.load("hsb"))
    >>> report.frame[["kind", "variable", "severity"]].to_numpy().tolist()
    [['within and between effects mixed', 'ses', 'warning']]
    >>> report.fixed
    'mathach ~ within(ses, school) + between(ses, school) + sector + (1 | school)'
    """
    if not isinstance(formula, str):
        raise CrosslevelError(f"`formula` is text such as 'y ~ x + (x | g)'; got {type(formula).__name__}.")
    named = (context,) if isinstance(context, str) else tuple(context)
    subject = Subject.of(formula, data, group, named)
    if subject.n_clusters < 2:
        raise CrosslevelError(
            f"`group` is {':'.join(subject.group)}, which has {subject.n_clusters} cluster in the rows without missing "
            "values. Name a column with several."
        )
    findings = tuple(_found(subject))
    return CodingReport(
        formula=formula, group=":".join(subject.group), n_rows=len(subject.codes), n_clusters=subject.n_clusters,
        findings=findings, fixed=_all_fixes(subject, findings),
    )  # fmt: skip


def _found(subject: Subject) -> Iterator[Finding]:
    """What all checks find."""
    for check in CHECKS:
        yield from check(subject)


def _all_fixes(subject: Subject, findings: Sequence[Finding]) -> str:
    """The formula after one fix after another."""
    formula = subject.formula.text
    for _ in range(ROUNDS):
        fix = next((each.fix for each in findings if each.fix), "")
        if not fix or fix == formula:
            break
        formula = fix
        following = Subject.of(formula, subject.data, ":".join(subject.group), subject.context)
        findings = tuple(_found(following))
    return formula


def _blocks(report: CodingReport) -> Iterator[Block]:
    """The parts of the document."""
    yield Paragraph(
        f"{report.formula}\n{counted(report.n_rows)} rows in {counted(report.n_clusters)} clusters of {report.group}."
    )
    if not report.findings:
        yield Paragraph(
            "Nothing was found: cluster-level variables are constant within clusters, random slopes have their zero "
            "within the data, effects within and between clusters are apart, and interactions have their slopes."
        )
    for found in report.findings:
        yield Note(found.words, kind="warning" if found.severity == "warning" else "info")
        if found.fix:
            yield Items([f"Write: {found.fix}"])
    if sum(bool(found.fix) for found in report.findings) > 1 and report.fixed != report.formula:
        yield Paragraph(f"With all of these: {report.fixed}")
