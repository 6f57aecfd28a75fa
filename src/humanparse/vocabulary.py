"""The closed lists of words that users choose from, each written down once. Imports nothing."""

from __future__ import annotations

AUTO = "auto"  # stands for the engine that `engines.choose_engine` names
ENGINES = ("onnxruntime", "openvino")  # engines/__init__.py has a row for each
PRECISIONS = ("fp32", "bf16")
# What runs networks besides the processor; engines/accelerators.py has a row for each.
ACCELERATORS = ("cuda", "tensorrt", "coreml", "migraphx", "xnnpack", "intel-gpu", "intel-npu")
RUN_ON = ("cpu", *ACCELERATORS)  # where networks are run
DEVICES = ("cpu", "cuda")  # where they are trained
HEADS = ("centres", "queries", "semantic")  # of networks: postprocess/heads.py has a row for each
PALETTES = ("clear", "classic")
CLASSES = ("all", "coarse")  # of results: coarse.py
# What a model is exported to; export/targets.py has a row for each.
EXPORT_TARGETS = ("triton", "tensorrt", "openvino", "onnx", "web")
MIN_SIDE = 64  # pixels; no smaller side can be requested for a network's input

# The endings of the pictures that image.py reads, for every command that searches for photos.
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
# Edits of a photo in the order in which they are carried out: edit/steps.py has a row for each.
EDITS = ("blur", "pixelate", "fill", "recolour", "background", "cutout", "crop")
MAX_REGION_LENGTH = 1_000  # characters of a region (regions.py), since they come over HTTP, too
PEOPLE_PATTERN = r"[1-9]\d{0,5}(,[1-9]\d{0,5})*"  # numbers of people, such as 2 or 1,3
MIN_STRENGTH, MAX_STRENGTH = 0.1, 10.0  # of blurring and pixelating
EDITED_SUFFIX = ".edited"  # what an edited photo's name ends in, before its own ending
# What each format appends to its photo's name. Files with these endings are known as our own, and
# not taken for photos.
FORMAT_SUFFIXES = {
    "overlay": ".overlay.png",
    "outlines": ".outlines.png",
    "colormap": ".colormap.png",
    "labels": ".labels.png",
    "people": ".people.png",
    "cutout": ".cutout.png",
    "agnostic": ".agnostic.png",
    "agnostic-lower": ".agnostic-lower.png",
    "agnostic-dress": ".agnostic-dress.png",
    "masks": ".masks.zip",
    "json": ".json",
    "coco": ".coco.json",
    "labelme": ".labelme.json",
    "cvat": ".cvat.xml",
    "label-studio": ".label-studio.json",
    "yolo": ".txt",  # Ultralytics wants the photo's name and nothing else
    "svg": ".svg",
    "npz": ".npz",
}
# What `humanparse video` appends to a clip's name: video/write.py has a row for each.
VIDEO_SUFFIXES = {
    "overlay": ".overlay",  # and the ending of its container
    "colormap": ".colormap",
    "cutout": ".cutout",
    "edited": ".edited",
    "jsonl": ".jsonl",
    "mot": ".mot.txt",
    "labels": ".labels",  # a folder
    "coco": ".coco.json",
    "tracks": ".tracks.json",
}
CONTAINERS = ("webm", "mp4")  # of the clips that are written
MAX_EVERY = 30  # frames of a clip from one that is parsed to the next; four times as many are held
MIN_TRACK_FRAMES = 3  # of a clip's track that counts: what is shorter is mostly noise
