"""Lets every test module import the helpers that lie in this folder, such as `made_up`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
