"""Checks of values that look like codes of missing answers."""

from collections.abc import Iterator

import pandas as pd

from crosslevel.diagnostics.checks.light import Light
from crosslevel.diagnostics.checks.subject import Subject
from crosslevel.table import Columns
from crosslevel.table.missing_codes import codes_in_words, likely_codes


def missing_codes(subject: Subject) -> Iterator[Light]:
    """Numbers such as 99 beside answers from 0 to 10, in columns of the formula; not in data read in batches."""
    data = subject.fit.data
    if not isinstance(data, pd.DataFrame):
        return
    columns = Columns.from_frame(data)
    names = [name for name in subject.design.spec.formula.required if columns.is_numeric(name)]
    found = {name: codes for name in names if (codes := likely_codes(columns.numeric(name)))}
    if found:
        words, _, advice = codes_in_words(found).partition(" If they are codes")
        yield Light(name="Codes of missing answers", concern="act", finding=words, advice=f"If they are codes{advice}")
