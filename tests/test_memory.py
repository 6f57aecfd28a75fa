"""memory.py measures a process, and a photo of 40 megapixels needs less than a gigabyte.

That is above the loaded model, with people all over the photo.
"""

import subprocess
import sys

import pytest

from humanparse.system.memory import peak_bytes, resident_bytes

CODE = """
import io
import numpy as np
from PIL import Image
from humanparse import HumanParser
from humanparse.cli.demo import PHOTOS
from humanparse.system.memory import peak_bytes
from humanparse.system.packaged import packaged

parser = HumanParser()
small = Image.open(packaged("cli/demo") / PHOTOS[0]).convert("RGB")
parser.parse(small)
before = peak_bytes()
crowd = np.tile(np.asarray(small.resize((1000, 1000))), (5, 8, 1))
result = parser.parse(crowd)
assert result.size_hw == (5000, 8000)
assert len(result.people) >= 5, len(result.people)
print((peak_bytes() - before) / 1e6)
"""


def test_a_photo_of_40_megapixels_parses_in_under_a_gigabyte():
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 1000


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells both")
def test_what_a_process_holds_is_told_and_is_no_more_than_its_peak():
    before = resident_bytes()
    block = bytearray(b"x" * 50_000_000)
    assert 40e6 < resident_bytes() - before < 80e6
    del block
    # the kernel counts the pages of each thread in batches, so both may be off by a little
    assert 10e6 < resident_bytes() <= peak_bytes() * 1.05
