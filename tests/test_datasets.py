from pathlib import Path

import make_datasets
import pandas as pd
import pytest

import crosslevel as cl
from crosslevel.errors import DataError


def test_hsb_is_the_reference_data_under_the_names_of_the_textbook() -> None:
    data = cl.datasets.load("hsb")
    assert list(data) == ["school", "minority", "female", "ses", "mathach", "meanses", "sector"]
    pd.testing.assert_frame_equal(data, make_datasets.hsb(), check_dtype=False, check_categorical=False)
    assert list(data["sector"].cat.categories) == ["Public", "Catholic"]
    assert not pd.api.types.is_numeric_dtype(data["school"])


def test_hsb_has_the_published_moments() -> None:
    # Raudenbush & Bryk (2002), table 4.1: means and standard deviations of the pupils' variables
    data = cl.datasets.load("hsb")
    assert len(data) == 7185
    assert data["school"].nunique() == 160
    assert data.groupby("school")["sector"].first().value_counts().to_dict() == {"Public": 90, "Catholic": 70}
    assert data["mathach"].mean() == pytest.approx(12.75, abs=0.005)
    assert data["mathach"].std() == pytest.approx(6.88, abs=0.005)
    assert data["ses"].mean() == pytest.approx(0.00, abs=0.005)
    assert data["ses"].std() == pytest.approx(0.78, abs=0.005)


def test_mean_ses_is_the_mean_of_the_schools_pupils() -> None:
    data = cl.datasets.load("hsb")
    means = data.groupby("school")["ses"].transform("mean")
    pd.testing.assert_series_equal(means, data["meanses"], check_names=False, rtol=0, atol=1e-14)


def test_sleepstudy_is_the_reference_data() -> None:
    data = cl.datasets.load("sleepstudy")
    pd.testing.assert_frame_equal(data, make_datasets.sleepstudy(), check_dtype=False)
    assert data["Subject"].nunique() == 18


@pytest.mark.parametrize("name", list(cl.datasets.list().index))
def test_every_data_set_is_as_listed(name: str) -> None:
    listed = cl.datasets.list().loc[name]
    data = cl.datasets.load(name)
    assert len(data) == listed["rows"]
    assert data[listed["group"]].nunique() == listed["clusters"]
    assert set(data.attrs["labels"]) == set(data.columns)
    assert cl.datasets.path(name) == Path(cl.datasets.__file__).parent / listed["file"]
    assert "(" in listed["source"]
    pd.testing.assert_frame_equal(cl.read(cl.datasets.path(name)), data)


def test_files_are_what_their_script_makes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(make_datasets, "DATASETS", tmp_path)
    make_datasets.write(make_datasets.hsb(), "hsb", make_datasets.HSB_LABELS)
    make_datasets.write(make_datasets.sleepstudy(), "sleepstudy", make_datasets.SLEEPSTUDY_LABELS)
    for name in cl.datasets.list().index:
        pd.testing.assert_frame_equal(cl.read(tmp_path / f"{name}.dta"), cl.datasets.load(name))
        assert cl.read(tmp_path / f"{name}.dta").attrs == cl.datasets.load(name).attrs


def test_an_unknown_name() -> None:
    with pytest.raises(
        DataError, match=r"`name` must be one of 'hsb', 'sleepstudy'; got 'HSB82'. Did you mean 'hsb'\?"
    ):
        cl.datasets.load("HSB82")
    with pytest.raises(DataError, match=r"got 3\.$"):
        cl.datasets.path(3)  # type: ignore[arg-type]
