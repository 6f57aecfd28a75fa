"""How pictures move: cuts, the camera, people, and each pixel."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

_LONG_SIDE = 320  # of the small pictures in which motion is looked for, in pixels
_MIN_SIDE = 16
_MOST_POINTS = 400
_POINTS_EACH = 40  # of those, the clearest on each person and on the background
_MIN_POINTS = 5  # fewer say nothing about the motion of what they lie on
# The place of a point is known to within this many pixels, or after so many steps.
_ENOUGH = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 10, 0.03)
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
        moved_xy: float (N, 2), how far each has moved, in pixels of the frame.
        whose: int (N,), whose each was.
    """

    moved_xy: np.ndarray
    whose: np.ndarray

    def shift(self, whose: int) -> np.ndarray | None:
        """Return how far somebody's points have moved, x and y in pixels; None for too few."""
        mine = self.whose == whose
        if np.count_nonzero(mine) < _MIN_POINTS:
            return None
        return np.median(self.moved_xy[mine], axis=0)


def tracked_points(before: Small, now: Small, owner: np.ndarray) -> Points:
    """Find the points of a frame in the next one (Lucas and Kanade's method).

    Args:
        before: The frame.
        now: The next one, of the same size.
        owner: int (h, w), whose each place of the frame is, on a grid that covers it. Of each
            owner, the clearest points are taken.
    """
    corners = cv2.goodFeaturesToTrack(before.grey, _MOST_POINTS, 0.005, 4)
    if corners is None:
        return Points(np.zeros((0, 2)), np.zeros(0, int))
    corners = corners.reshape(-1, 2)
    cells = np.array(owner.shape[::-1]) / before.grey.shape[::-1]
    x, y = (corners * cells).astype(int).T
    whose = owner[y.clip(0, owner.shape[0] - 1), x.clip(0, owner.shape[1] - 1)]
    chosen = _first_of_each(whose, _POINTS_EACH)  # the clearest come first
    corners, whose = corners[chosen], whose[chosen]
    found, status = _followed(before, now, corners)
    again, back = _followed(now, before, found)
    good = (status & back).ravel() == 1
    good &= np.abs(again - corners).max(1) < 1.0
    return Points((found - corners)[good] / before.scale_xy, whose[good])


def _first_of_each(values: np.ndarray, most: int) -> np.ndarray:
    """The indices of the first so many of each value."""
    return np.concatenate([np.flatnonzero(values == one)[:most] for one in np.unique(values)])


def _followed(before: Small, now: Small, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    found, status, _ = cv2.calcOpticalFlowPyrLK(
        before.grey,
        now.grey,
        points,
        np.zeros_like(points),
        winSize=(15, 15),
        maxLevel=3,
        criteria=_ENOUGH,
    )
    return found, status


@dataclass(frozen=True, eq=False)
class Flow:
    """Where each pixel of a frame was in the frame before.

    Attributes:
        x: float32 (H, W), across, in pixels.
        y: float32 (H, W), down.
        alike: uint8 (H, W), 1 where the two frames look the same, otherwise 0.
    """

    x: np.ndarray
    y: np.ndarray
    alike: np.ndarray

    def brought_along(self, maps: np.ndarray) -> np.ndarray:
        """Return a map of the frame before as it lies in this one; 0 where that was outside.

        Args:
            maps: uint8 or uint16, (H, W) or (H, W, C).
        """
        return cv2.remap(maps, self.x, self.y, cv2.INTER_NEAREST)


def flow_from(before: Small, now: Small, frame_hw: tuple[int, int]) -> Flow:
    """Find where each pixel of a frame was in the frame before, by dense optical flow.

    The flow is that of dense inverse search (Kroeger et al., arXiv 1603.03590).

    Args:
        before: The frame before.
        now: The frame, of the same size.
        frame_hw: Its height and width in pixels.
    """
    # On finer pictures than this preset's own. Refinement beyond the search steadies no better.
    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
    search.setFinestScale(1)
    flow = search.calc(
        now.grey, before.grey, np.zeros((*now.grey.shape, 2), np.float32)
    )  # (h, w, 2), in small pixels
    x, y = cv2.split(flow)
    # in colours, since a red sleeve and a brown arm may be of one grey
    there = cv2.remap(before.colours, *_places(x, y), cv2.INTER_NEAREST)
    differ = cv2.blur(cv2.absdiff(there, now.colours), (3, 3))
    red, green, blue = cv2.split(differ)
    most = cv2.max(cv2.max(red, green), blue)
    _, alike = cv2.threshold(most, _DIFFERS, 1, cv2.THRESH_BINARY_INV)
    size = frame_hw[1], frame_hw[0]
    return Flow(
        *_places(
            cv2.resize(x, size) / now.scale_xy[0],
            cv2.resize(y, size) / now.scale_xy[1],
        ),
        cv2.resize(alike, size, interpolation=cv2.INTER_NEAREST),
    )


def _places(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where each pixel was that has come so far, both float32 (h, w)."""
    height, width = x.shape
    across, down = np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)
    return x + across, y + down[:, None]


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
