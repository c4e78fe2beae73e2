"""The first fit on a machine compiles, and says so once; later processes load what was compiled."""

import os
import subprocess
import sys
from pathlib import Path

PROGRAM = """
import crosslevel as cl
data = cl.datasets.load("sleepstudy")
for _ in range(2):
    print(cl.mixed("Reaction ~ Days + (Days | Subject)", data).deviance)
    print(cl.mixed("Reaction ~ 1 + (1 | Subject) + (1 | Days)", data).deviance)
"""
NOTICE = "compiling its numerical kernels"


def fitted_in_new_process(cache: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(cache)}
    return subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, env=environment)


def test_compilation_is_announced_once(tmp_path: Path) -> None:
    first = fitted_in_new_process(tmp_path)
    assert first.stderr.count(NOTICE) == 1
    later = fitted_in_new_process(tmp_path)
    assert later.stderr == ""
    assert later.stdout == first.stdout
