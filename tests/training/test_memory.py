import os
import platform
import subprocess
import sys

import pytest
from helpers import ROOT

PROGRAM = """
import resource, sys
import numpy as np
from mri_recon.training.memory import keep_freed_memory
if sys.argv[1] == "keep":
    assert keep_freed_memory()
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
def step():
    arrays = [np.ones(2_500_000, np.float64) for _ in range(6)]
    assert all(array[-1] == 1 for array in arrays)
step(), step()
before = faults()
step(), step()
print(faults() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other mallocs are left as they are")
def test_freed_memory_is_not_asked_of_the_system_again():
    counts = {}
    for how in ("leave", "keep"):
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, how],
            capture_output=True,
            text=True,
            cwd=ROOT,
            check=True,
            env={**os.environ, "NUMPY_MADVISE_HUGEPAGE": "0"},  # torch asks for pages of the usual size
        )
        counts[how] = int(done.stdout)
    assert counts["leave"] > 20_000
    assert counts["keep"] < counts["leave"] / 20
