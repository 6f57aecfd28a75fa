"""Write a data set for YOLO's segmentation from photos: python yolo_labels.py street.jpg …"""

import shutil
import sys
from pathlib import Path

from humanparse import HumanParser
from humanparse.formats.yolo import to_yolo, yolo_dataset

parser, out = HumanParser(), Path("yolo")
for folder in ("images", "labels"):
    (out / folder / "train").mkdir(parents=True, exist_ok=True)
for photo in map(Path, sys.argv[1:]):
    shutil.copy(photo, out / "images/train")
    (out / "labels/train" / f"{photo.stem}.txt").write_text(to_yolo(parser.parse(photo)))
(out / "data.yaml").write_text(yolo_dataset(parser.labels, val="images/train"))
print(f"{len(sys.argv) - 1} photos in {out}/")
