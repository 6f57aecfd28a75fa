"""Pictures of a Parsing.

drawing.py colours and outlines it, legend.py says what the colours mean, retouch.py changes the
photo where parts were found. What reads well at 200 pixels reads well at 6000: lines and type grow
with the photo (lettering.py).
"""

from humanparse.render.drawing import (
    colormap,
    outlines,
    overlay,
    people_map,
    person_colours,
    person_index,
)
from humanparse.render.legend import LegendEntry, legend_entries, legend_heading
from humanparse.render.lettering import FAINT, INK, PAPER
from humanparse.render.retouch import blur, cutout, recolour

__all__ = [
    "FAINT", "INK", "PAPER", "LegendEntry", "blur", "colormap", "cutout", "legend_entries", "legend_heading", "outlines",
    "overlay", "people_map", "person_colours", "person_index", "recolour",
]  # fmt: skip
