"""Blur every face: python hide_faces.py street.jpg …"""

import sys
from pathlib import Path

from humanparse import HumanParser
from humanparse.edit import edit, step

parser = HumanParser()
for photo in map(Path, sys.argv[1:]):
    edited = edit(parser.parse(photo), [step("blur", "face grow=2% feather=1%")])
    edited.image.save(f"{photo.stem}.hidden.png")
    print(f"{photo.stem}.hidden.png", *edited.missing, sep="; ")
