"""Pictures and videos embedded in a page."""

import base64
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

MAX_JPEG_BYTES = 60_000
"""Of one picture that is encoded for a page."""
_QUALITIES = (70, 55, 40, 25, 10)


def encode_jpeg(
    rgb: NDArray[np.uint8], *, max_bytes: int = MAX_JPEG_BYTES, qualities: Sequence[int] = _QUALITIES
) -> bytes:
    """Encode a picture at the highest quality that fits `max_bytes`, else at the lowest; the result is deterministic.

    Args:
        rgb: (H, W, 3).
        max_bytes: the limit.
        qualities: qualities to try, in this order.
    """
    bgr, data = cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), b""
    for quality in qualities:
        _, encoded = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_OPTIMIZE, 1])
        data = encoded.tobytes()
        if len(data) <= max_bytes:
            break
    return data


def jpeg_data_uri(jpeg: bytes) -> str:
    """A JPEG as the value of `src`."""
    return data_uri(jpeg, "image/jpeg")


def data_uri(data: bytes, media_type: str) -> str:
    """Bytes of a file as the value of `src`."""
    return f"data:{media_type};base64," + base64.b64encode(data).decode()
