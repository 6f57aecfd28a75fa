"""Memory is kept between steps: a freed block that is asked for again costs no new pages."""

import subprocess
import sys

import pytest

FAULTS = """
import resource, sys
import torch
from humanparse.training.memory import kept_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        torch.ones(64 * 2**20, dtype=torch.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

faults()
usual = faults()
with kept_memory():
    faults()
    kept = faults()
after = faults()
print(usual, kept, after)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="mallopt is glibc's")
def test_large_blocks_are_kept_inside_and_given_back_as_usual_afterwards():
    pytest.importorskip("torch")
    done = subprocess.run(
        [sys.executable, "-c", FAULTS], capture_output=True, text=True, check=True, timeout=120
    )
    usual, kept, after = map(int, done.stdout.split())
    assert kept < usual / 5 and kept < after / 5
