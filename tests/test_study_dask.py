"""A study on a Dask cluster, one of whose workers dies: nothing is lost, and the numbers are the same."""

from pathlib import Path

import joblib
import pandas as pd
import pytest
from dask.distributed import Client, LocalCluster
from simulated_toys import ClusterMean, toy

import crosslevel as cl


@pytest.mark.slow
def test_a_worker_that_is_killed_in_the_middle_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))  # workers import the toys
    died = tmp_path / "died"
    mortal = ClusterMean(name="mean", trouble="death", at=160, once=str(died), seconds=0.1)
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        first = set(client.scheduler_info()["workers"])
        with joblib.parallel_config(backend="dask"):
            found = toy(estimators=[mortal]).run(reps=250, seed=1, batch=20, folder=tmp_path / "study", progress=False)
        assert first - set(client.scheduler_info()["workers"])
    assert died.exists()
    expected = toy().run(reps=250, seed=1, progress=False)
    pd.testing.assert_frame_equal(found, expected, check_exact=True)
    stored = cl.lab.replications(tmp_path / "study")
    assert len(stored) == 4 * 250 * 2
    assert not stored.duplicated(["condition", "replication", "interval"]).any()
