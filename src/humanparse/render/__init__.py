"""Pictures of a Parsing.

drawing.py colours and outlines it, legend.py explains the colours, and retouch.py changes the photo
where parts were found. What is readable at 200 pixels is readable at 6000: lines and type grow with
the photo (lettering.py).
"""

from humanparse.render.drawing import (
    colormap,
    colormap_pixels,
    outlines,
    outlines_pixels,
    overlay,
    overlay_pixels,
    people_map,
    person_colours,
    person_index,
)
from humanparse.render.legend import LegendEntry, legend_entries, legend_heading
from humanparse.render.lettering import FAINT, INK, PAPER
from humanparse.render.retouch import blur, cutout, recolour

__all__ = [
    "FAINT",
    "INK",
    "PAPER",
    "LegendEntry",
    "blur",
    "colormap",
    "colormap_pixels",
    "cutout",
    "legend_entries",
    "legend_heading",
    "outlines",
    "outlines_pixels",
    "overlay",
    "overlay_pixels",
    "people_map",
    "person_colours",
    "person_index",
    "recolour",
]
