"""Measures of quality, on label maps and person maps. Nothing here runs a model."""
