"""A photo of 40 megapixels, with people all over it, needs under a gigabyte above the loaded
model."""

import subprocess
import sys

CODE = """
import io, resource
import numpy as np
from PIL import Image
from humanparse import HumanParser
from humanparse.cli.demo import PHOTOS
from humanparse.system.packaged import packaged

def peak_mb():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

parser = HumanParser()
small = Image.open(packaged("cli/demo") / PHOTOS[0]).convert("RGB")
parser.parse(small)
before = peak_mb()
crowd = np.tile(np.asarray(small.resize((1000, 1000))), (5, 8, 1))
result = parser.parse(crowd)
assert result.size_hw == (5000, 8000)
assert len(result.people) >= 5, len(result.people)
print(peak_mb() - before)
"""


def test_a_photo_of_40_megapixels_parses_in_under_a_gigabyte():
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 1000
