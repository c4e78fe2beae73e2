"""Checks of coding: values that look like codes of missing answers."""

from collections.abc import Iterator

from crosslevel.diagnostics.coding_subject import Finding, Subject
from crosslevel.table.missing_codes import codes_in_words, likely_codes


def missing_codes(subject: Subject) -> Iterator[Finding]:
    """Numbers such as 99 beside answers from 0 to 10, in columns of the formula."""
    columns = subject.columns
    names = [name for name in subject.formula.required if name not in subject.group and columns.is_numeric(name)]
    for name in names:
        values = columns.numeric(name)
        codes = likely_codes(values if subject.mask is None else values[subject.mask])
        if codes:
            yield Finding(
                kind="codes of missing answers", variable=name, severity="warning", words=codes_in_words({name: codes})
            )
