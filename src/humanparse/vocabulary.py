"""The closed lists of words that users choose from, each written down once. Needs nothing, not even
NumPy."""

from __future__ import annotations

AUTO = "auto"  # not an engine: `engines.choose_engine` says which
ENGINES = ("onnxruntime", "openvino")
PRECISIONS = ("fp32", "bf16")
DEVICES = ("cpu", "cuda")
HEADS = ("centres", "queries", "semantic")  # of networks: postprocess/heads.py has a row for each
PALETTES = ("clear", "classic")
CLASSES = ("all", "coarse")  # of results: coarse.py
MIN_SIDE = 64  # pixels, the smallest side of a network's input that can be asked for

# Of the pictures that image.py reads: how their names end. One list, for every command that looks
# for photos.
PICTURE_ENDINGS = (
    ".jpg",
    ".jpeg",
    ".png",
    ".webp",
    ".bmp",
    ".gif",
    ".tif",
    ".tiff",
    ".heic",
    ".heif",
    ".avif",
    ".ppm",
)
EDITED_SUFFIX = ".edited"  # what an edited photo's name ends in, before its own ending
# What each format adds to its photo's name. By these our own files are known, and are not taken
# for photos again.
FORMAT_SUFFIXES = {
    "overlay": ".overlay.png",
    "outlines": ".outlines.png",
    "colormap": ".colormap.png",
    "labels": ".labels.png",
    "people": ".people.png",
    "cutout": ".cutout.png",
    "json": ".json",
    "coco": ".coco.json",
    "labelme": ".labelme.json",
    "npz": ".npz",
}
