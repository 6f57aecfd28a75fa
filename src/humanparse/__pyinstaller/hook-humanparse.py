"""Includes the package's models, photos, pages and recipes, and the modules imported when used."""

from PyInstaller.utils.hooks import collect_data_files, copy_metadata

datas = collect_data_files("humanparse") + copy_metadata("humanparse")
hiddenimports = [
    "humanparse.engines.onnxruntime",
    "humanparse.formats",
    "humanparse.masks",
    "humanparse.parser",
    "humanparse.render",
    "humanparse.result",
]
