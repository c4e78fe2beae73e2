"""`crosslevel demo`: the three models that textbooks fit to the High School & Beyond data."""

from pathlib import Path

from crosslevel import datasets
from crosslevel.cli import output
from crosslevel.display import text

MODELS = {
    "Null model": "mathach ~ 1 + (1 | school)",
    "Random coefficients": "mathach ~ within(ses, school) + (within(ses, school) | school)",
    "Slopes as outcomes": (
        "mathach ~ within(ses, school) * sector + within(ses, school) * meanses + (within(ses, school) | school)"
    ),
}
VARIABLES = ["mathach", "ses", "meanses", "sector"]


def run_demo(path: Path, *, json: bool, quiet: bool) -> bool:
    """Read the data from their file, fit, print, write the report; return whether every fit converged."""
    from crosslevel.diagnostics.describe import describe
    from crosslevel.estimators.mixed import mixed
    from crosslevel.report.page import report

    data = output.read_file(datasets.path("hsb"), sheet=None, encoding=None, quiet=quiet)
    if not json:
        print(text(describe(data, "school", VARIABLES).document()))
    fits = {}
    for name, formula in MODELS.items():
        with output.progress(f"Fitting: {name}", quiet):
            fits[name] = mixed(formula, data)
        if not json:
            print(f"\n\n{name}\n")
            print(text(fits[name].summary()))
    with output.progress("Drawing the report", quiet):
        written = report(fits, path, title="Mathematics achievement in 160 schools")
    print() if not json else None
    output.written(written, [fit.to_dict() for fit in fits.values()], json=json)
    return all(fit.converged for fit in fits.values())
