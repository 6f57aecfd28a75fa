"""Write what a try-on model paints over: python try_on_mask.py street.jpg [upper|lower|dress]"""

import sys
from pathlib import Path

from PIL import Image

from humanparse import HumanParser
from humanparse.tryon import agnostic_mask

photo, garment = Path(sys.argv[1]), (sys.argv[2:] or ["upper"])[0]
mask = agnostic_mask(HumanParser().parse(photo), garment)
Image.fromarray(mask.to_dense()).save(f"{photo.stem}.mask.png")
print(f"{photo.stem}.mask.png", mask.area, "pixels")
