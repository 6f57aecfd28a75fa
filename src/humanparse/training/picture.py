"""What scenes do to pictures: move, turn and scale them, and change their colours and sharpness."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import ArrayLike


def placed(
    shape: tuple[int, ...], zoom: float, angle: float, flip: bool, centre_xy: ArrayLike
) -> np.ndarray:
    """Return the affine map that places a picture.

    Args:
        shape: Height and width of the picture in pixels, and perhaps more axes.
        zoom: The scale.
        angle: The rotation in degrees.
        flip: Whether to mirror it.
        centre_xy: Where its middle goes, in pixels.

    Returns:
        float (2, 3).
    """
    height, width = shape[:2]
    cos, sin = zoom * np.cos(np.radians(angle)), zoom * np.sin(np.radians(angle))
    linear = np.array([[cos, -sin], [sin, cos]]) @ np.diag([-1.0 if flip else 1.0, 1.0])
    return np.column_stack(
        [linear, np.asarray(centre_xy) - linear @ np.array([width / 2, height / 2])]
    )


def warp(
    picture: np.ndarray,
    matrix: np.ndarray,
    size: int,
    how: int = cv2.INTER_LINEAR,
    border: int = cv2.BORDER_CONSTANT,
) -> np.ndarray:
    """Return a picture through an affine map, in a square.

    If the map shrinks the picture a lot, the picture is shrunk with area averaging first.

    Args:
        picture: (H, W) or (H, W, 3).
        matrix: The affine map, float (2, 3).
        size: The side of the square in pixels.
        how: OpenCV's interpolation.
        border: OpenCV's border mode.
    """
    zoom = np.sqrt(abs(np.linalg.det(matrix[:, :2])))
    if zoom < 0.6 and how == cv2.INTER_LINEAR:
        height, width = picture.shape[:2]
        shrink = max(zoom * 1.2, 16 / min(height, width))
        small = cv2.resize(
            picture,
            (max(1, round(width * shrink)), max(1, round(height * shrink))),
            interpolation=cv2.INTER_AREA,
        )
        back = np.diag([width / small.shape[1], height / small.shape[0]])
        picture, matrix = small, np.column_stack([matrix[:, :2] @ back, matrix[:, 2]])
    return cv2.warpAffine(picture, matrix, (size, size), flags=how, borderMode=border)


def random_angle(rng: np.random.Generator) -> float:
    """Return degrees: most people stand upright; some lean, few lie or hang."""
    return rng.uniform(-100, 100) if rng.random() < 0.08 else rng.normal(0, 9)


def random_colours(rng: np.random.Generator) -> Callable[[np.ndarray], np.ndarray]:
    """Return a random colour change: gamma, gain per channel and saturation.

    It is the same for the whole picture; the function takes and returns uint8 (H, W, 3).
    """
    gamma, gain = np.exp(rng.normal(0, 0.25)), np.exp(rng.normal(0, 0.08, 3) + rng.normal(0, 0.12))
    saturation = 0.0 if rng.random() < 0.04 else np.clip(rng.normal(1, 0.25), 0.3, 1.7)
    ramp = np.arange(256)[:, None] / 255
    table = np.clip(ramp**gamma * gain * 255, 0, 255).astype(np.uint8)[None]  # (1, 256, 3)

    def change(pixels: np.ndarray) -> np.ndarray:
        pixels = cv2.LUT(pixels, table)
        grey = cv2.cvtColor(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
        return cv2.addWeighted(pixels, saturation, grey, 1 - saturation, 0)

    return change


def through_camera(rng: np.random.Generator, pixels: np.ndarray) -> np.ndarray:
    """Return the pixels after what cameras and networks do to them: blur, noise and JPEG."""
    if rng.random() < 0.2:
        pixels = cv2.GaussianBlur(pixels, (0, 0), rng.uniform(0.4, 1.5))
    if rng.random() < 0.2:
        noise = rng.normal(0, rng.uniform(2, 12), pixels.shape).astype(np.float32)
        pixels = np.clip(pixels + noise, 0, 255).astype(np.uint8)
    if rng.random() < 0.5:
        _, data = cv2.imencode(
            ".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(30, 95))]
        )
        decoded = cv2.imdecode(data, cv2.IMREAD_COLOR)
        assert decoded is not None  # it was encoded just above
        pixels = decoded
    return pixels
