"""The page of validation says what it compares: numbers, their differences, tests that exist."""

from pathlib import Path

import pytest
from building.validation import KINDS, linear_model
from building.validation_page import details, existing, summary
from reference_cases import load_case

TESTS = Path(__file__).parent


def test_numbers_of_a_model_stand_beside_each_other() -> None:
    case = load_case("sleepstudy__rs_reml")
    model = linear_model(case)
    by_name = {(number.kind, number.name): number for number in model.numbers}
    slope = by_name["coefficient", "Days"]
    assert slope.theirs == case.expected["fixef"]["Days"]
    assert slope.ours == pytest.approx(slope.theirs, rel=1e-6)
    assert slope.difference == pytest.approx(abs(slope.ours - slope.theirs) / case.expected["se"]["Days"])
    assert {number.kind for number in model.numbers} <= set(KINDS)
    assert max(number.difference for number in model.numbers) < 1e-4
    assert "10.467286" in details(model)
    assert "sleepstudy, lme4" in summary([model])


def test_tests_that_the_page_names_exist() -> None:
    assert existing(TESTS)
    with pytest.raises(FileNotFoundError, match="test_margins"):
        existing(TESTS / "reference")
