"""What scenes do to pictures: move, turn and scale them, and change their colours and sharpness."""

from __future__ import annotations

import cv2
import numpy as np


def placed(shape: tuple[int, ...], zoom: float, angle: float, flip: bool, centre_xy) -> np.ndarray:
    """float (2, 3): the affine map that puts a picture of `shape` with its middle at
    `centre_xy`."""
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
):
    """The picture through the affine map into a square of `size`; halved first where the map
    shrinks it a lot."""
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
    """Degrees: people mostly stand; some lean, few lie or hang."""
    return rng.uniform(-100, 100) if rng.random() < 0.08 else rng.normal(0, 9)


def random_colours(rng: np.random.Generator):
    """A random colour change, the same for the whole picture: gamma, gain per channel,
    saturation."""
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
    """What cameras and networks do to a picture: blur, noise, JPEG."""
    if rng.random() < 0.2:
        pixels = cv2.GaussianBlur(pixels, (0, 0), rng.uniform(0.4, 1.5))
    if rng.random() < 0.2:
        noise = rng.normal(0, rng.uniform(2, 12), pixels.shape).astype(np.float32)
        pixels = np.clip(pixels + noise, 0, 255).astype(np.uint8)
    if rng.random() < 0.5:
        _, data = cv2.imencode(
            ".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(30, 95))]
        )
        pixels = cv2.imdecode(data, cv2.IMREAD_COLOR)
    return pixels
