"""`crosslevel demo`: the whole analysis of context effects on the High School & Beyond data."""

from pathlib import Path

from crosslevel import datasets
from crosslevel.cli import output
from crosslevel.display import text

FORMULA = "mathach ~ within(ses, school) * sector + within(ses, school) * meanses + minority + female"
CONTEXT = ["sector", "meanses"]


def run_demo(path: Path, *, json: bool, quiet: bool) -> bool:
    """Read the data from their file, analyse, print what was found, write the report; whether every fit converged."""
    from crosslevel.analysis.folder import record_of
    from crosslevel.analysis.script import analyze
    from crosslevel.report.page import html_file

    html_file(path)
    data = output.read_file(datasets.path("hsb"), sheet=None, encoding=None, missing_codes=None, quiet=quiet)
    found = analyze(FORMULA, data, CONTEXT, group="school", progress=not quiet)
    with output.progress("Drawing the report", quiet):
        written = found.report(path)
    if json:
        print(output.dumped({"report": str(written), "analysis": record_of(found, [])}))
    else:
        print(f"{text(found.summary())}\n\n{found.paper.results_in_lines}\n\nThe report is in {written.resolve()}")
    return found.converged
