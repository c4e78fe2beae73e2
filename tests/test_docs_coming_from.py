"""Pages for those who come from other software: both sides of their tables are the same model, every name exists."""

import re
from pathlib import Path

import pytest

import crosslevel as cl
from crosslevel.estimators.mixed_fit import MixedFit

FOLDER = Path(__file__).parent.parent / "docs" / "coming_from"
CELL = re.compile(r"(?<!\\)\|")
READERS = {
    "stata": lambda command, data: cl.from_stata(command).fit(data),
    "lme4": lambda command, data: cl.from_lme4(command).fit(data),
    "spss": lambda command, data: cl.from_spss(command).fit(data),
}


def rows(page: str, part: str) -> list[tuple[str, str]]:
    """Left and right cells of the table below a heading."""
    text = (FOLDER / f"{page}.md").read_text(encoding="utf-8").split(f"## {part}\n")[1].split("\n## ")[0]
    lines = [line for line in text.split("\n") if line.startswith("|")][2:]
    cells = [[cell.strip().replace("\\|", "|") for cell in CELL.split(line)[1:-1]] for line in lines]
    return [(left, right) for left, right in cells]


def code(cell: str) -> str:
    return re.fullmatch(r"`(.*)`", cell)[1]


MODELS = [(page, *row) for page in READERS for row in rows(page, "Models")]


@pytest.mark.parametrize(
    ("page", "left", "right"), MODELS, ids=[f"{page}-{k}" for k, (page, _, _) in enumerate(MODELS)]
)
def test_both_sides_are_the_same_model(page: str, left: str, right: str) -> None:
    data = cl.datasets.load("hsb")
    ours = eval(code(right), {"cl": cl, "data": data})
    theirs = READERS[page](code(left), data)
    assert theirs.loglik == pytest.approx(ours.loglik, rel=1e-10)
    assert theirs.n_params == ours.n_params


@pytest.mark.parametrize(("left", "right"), rows("statsmodels", "Models"), ids=lambda cell: str(len(cell)))
def test_statsmodels_fits_the_same_model(left: str, right: str) -> None:
    smf = pytest.importorskip("statsmodels.formula.api")
    data = cl.datasets.load("sleepstudy")
    ours, theirs = (eval(code(cell), {"cl": cl, "smf": smf, "data": data}) for cell in (right, left))
    assert theirs.llf == pytest.approx(ours.loglik, abs=1e-5)


@pytest.mark.parametrize("page", ["stata", "lme4", "hlm", "spss", "statsmodels"])
def test_every_name_exists(page: str) -> None:
    text = (FOLDER / f"{page}.md").read_text(encoding="utf-8")
    right = " ".join(CELL.split(line)[-2] for line in text.split("\n") if line.startswith("|"))
    assert not [name for name in re.findall(r"\bfit\.(\w+)", right) if not hasattr(MixedFit, name)]
    assert not [name for name in re.findall(r"\bcl\.(\w+)", right) if name not in cl.__all__]


def test_calls_after_the_model_run() -> None:
    data = cl.datasets.load("hsb")
    fit = cl.mixed("mathach ~ ses + meanses + sector + (1 | school)", data)
    known = {"cl": cl, "data": data, "fit": fit}
    for page in ("stata", "lme4", "spss"):
        for _, right in rows(page, "After the model"):
            for call in re.findall(r"`((?:fit|cl)\.[^`]*)`", right):
                if not re.search(r"bootstrap|small|influence", call):  # these take a while, or another model
                    eval(call, known)
