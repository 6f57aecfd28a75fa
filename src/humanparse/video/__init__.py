"""Video: people followed from frame to frame, with their parts.

track.py    which person of a frame is which person of the frames before
steady.py   parts that do not flicker
"""
