"""How pictures move: cuts, the camera, people, and each pixel."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

_LONG_SIDE = 320  # of the small pictures in which motion is looked for, in pixels
_MIN_SIDE = 16
_MOST_POINTS = 400
_MIN_POINTS = 5  # fewer say nothing about the motion of what they lie on
_DIFFERS = 30  # levels of a colour by which a place may differ from where the flow says it was
_CUT = 0.4  # correlation of two frames, as coarse as this, below which there is a cut between them
_PLAIN_CUT = 24.0  # the difference in grey that says so where a frame is of one colour
_COARSE = (32, 24)


@dataclass(frozen=True, eq=False)
class Small:
    """A small picture of a frame.

    Attributes:
        colours: uint8 (h, w, 3), RGB.
        grey: uint8 (h, w).
        scale_xy: Small pixels for each pixel of the frame, across and down.
    """

    colours: np.ndarray
    grey: np.ndarray
    scale_xy: tuple[float, float]

    @classmethod
    def of(cls, image: np.ndarray) -> Small:
        """Return it for a frame, uint8 (H, W, 3) RGB."""
        height, width = image.shape[:2]
        scale = min(1.0, _LONG_SIDE / max(height, width))
        # dense inverse search compares patches, which must fit
        size = max(_MIN_SIDE, round(width * scale)), max(_MIN_SIDE, round(height * scale))
        small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        grey = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)
        return cls(small, grey, (size[0] / width, size[1] / height))


@dataclass(frozen=True, eq=False)
class Points:
    """Points that were found in two frames.

    Attributes:
        before_xy: float (N, 2), where they were, in pixels of the frame.
        moved_xy: float (N, 2), how far each has moved.
    """

    before_xy: np.ndarray
    moved_xy: np.ndarray

    def shift(self, among: np.ndarray) -> np.ndarray | None:
        """Return how far the chosen points have moved, x and y in pixels; None for too few.

        Args:
            among: bool (N,).
        """
        if np.count_nonzero(among) < _MIN_POINTS:
            return None
        return np.median(self.moved_xy[among], axis=0)


def tracked_points(before: Small, now: Small) -> Points:
    """Find the points of a frame in the next one (Lucas and Kanade's method)."""
    corners = cv2.goodFeaturesToTrack(before.grey, _MOST_POINTS, 0.005, 4)
    if corners is None:
        return Points(np.zeros((0, 2)), np.zeros((0, 2)))
    found, status = _followed(before, now, corners)
    again, back = _followed(now, before, found)
    corners, found, again = (one.reshape(-1, 2) for one in (corners, found, again))
    good = (status.ravel() == 1) & (back.ravel() == 1)
    good &= np.abs(again - corners).max(1) < 1.0
    return Points(corners[good] / before.scale_xy, (found - corners)[good] / before.scale_xy)


def _followed(before: Small, now: Small, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    found, status, _ = cv2.calcOpticalFlowPyrLK(
        before.grey,
        now.grey,
        points,
        np.zeros_like(points),
        winSize=(15, 15),
        maxLevel=3,
    )
    return found, status


def came_from(
    before: Small, now: Small, frame_hw: tuple[int, int], *, everywhere: bool = False
) -> np.ndarray:
    """Find where each pixel of a frame was in the frame before, by dense optical flow.

    The flow is that of dense inverse search (Kroeger et al., arXiv 1603.03590).

    Args:
        before: The frame before.
        now: The frame, of the same size.
        frame_hw: Its height and width in pixels.
        everywhere: Also tell the likeliest place where the two frames do not look the same.

    Returns:
        float32 (H, W, 2), x and y in pixels; NaN where the two frames do not look the same, unless
        `everywhere`.
    """
    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    flow = search.calc(
        now.grey, before.grey, np.zeros((*now.grey.shape, 2), np.float32)
    )  # (h, w, 2), in small pixels
    height, width = now.grey.shape
    at = flow + np.stack(np.meshgrid(np.arange(width), np.arange(height)), 2).astype(np.float32)
    # in colours, since a red sleeve and a brown arm may be of one grey
    there = brought_along(before.colours, at)
    differs = cv2.blur(cv2.absdiff(there, now.colours), (3, 3)).max(2) > _DIFFERS
    outside = (at < 0).any(2) | (at[..., 0] > width - 1) | (at[..., 1] > height - 1)
    size = frame_hw[1], frame_hw[0]
    full = cv2.resize(flow, size) / np.array(now.scale_xy, np.float32)
    full += np.stack(np.meshgrid(np.arange(size[0]), np.arange(size[1])), 2).astype(np.float32)
    if everywhere:
        return full
    lost = cv2.resize((differs | outside).view(np.uint8), size, interpolation=cv2.INTER_NEAREST)
    full[lost > 0] = np.nan
    return full


def brought_along(maps: np.ndarray, at_xy: np.ndarray) -> np.ndarray:
    """Return a map of the frame before as it lies in this one; see `came_from`.

    Args:
        maps: uint8, uint16 or float32 (H, W) or (H, W, 3).
        at_xy: float32 (H, W, 2). What is NaN there is undefined.
    """
    return cv2.remap(maps, at_xy, None, cv2.INTER_NEAREST)  # type: ignore[call-overload]


def is_cut(before: Small, now: Small, camera_xy: np.ndarray) -> bool:
    """Return whether there is a cut between two frames: they have nothing in common.

    Args:
        before: The first frame.
        now: The second one, of the same size.
        camera_xy: How far the picture has moved, in pixels of the frame.
    """
    height, width = now.grey.shape
    x, y = np.rint(np.array(camera_xy) * now.scale_xy).astype(int)
    if abs(x) > width // 2 or abs(y) > height // 2:
        x = y = 0
    one = before.grey[max(0, -y) : height - max(0, y), max(0, -x) : width - max(0, x)]
    other = now.grey[max(0, y) : height - max(0, -y), max(0, x) : width - max(0, -x)]
    a, b = (
        cv2.resize(part, _COARSE, interpolation=cv2.INTER_AREA).astype(float)
        for part in (one, other)
    )
    difference = abs(a.mean() - b.mean())
    a, b = a - a.mean(), b - b.mean()
    spread = np.sqrt((a**2).sum() * (b**2).sum())
    if spread < a.size:  # one of them is of one colour
        return difference > _PLAIN_CUT
    return float((a * b).sum() / spread) < _CUT
