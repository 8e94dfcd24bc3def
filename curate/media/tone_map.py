"""High dynamic range to BT.709: names of transfer curves and primaries, and the conversion of PQ and HLG pictures.

Curves: SMPTE ST 2084 (PQ) and ARIB STD-B67 (HLG), both in ITU-R BT.2100. Diffuse white, 203 cd/m² (ITU-R BT.2408), maps
to 0.9 of the output; brighter light is compressed up to 1.
"""

from collections.abc import Mapping
from functools import cache

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

PQ, HLG = 16, 18  # AVCOL_TRC_SMPTE2084, AVCOL_TRC_ARIB_STD_B67
BT2020 = 9  # AVCOL_PRI_BT2020 and AVCOL_SPC_BT2020_NCL
TRANSFER_NAMES = {
    1: "bt709", 4: "gamma22", 5: "gamma28", 6: "smpte170m", 7: "smpte240m", 8: "linear", 11: "xvycc", 13: "srgb",
    14: "bt2020", 15: "bt2020", PQ: "pq", 17: "smpte428", HLG: "hlg",
}  # fmt: skip
PRIMARIES_NAMES = {
    1: "bt709", 4: "bt470m", 5: "bt470bg", 6: "smpte170m", 7: "smpte240m", 8: "film", BT2020: "bt2020", 10: "smpte428",
    11: "dci-p3", 12: "display-p3", 22: "ebu3213",
}  # fmt: skip
_UNSPECIFIED = 2
_WHITE_CD = 203.0
_WHITE_LEVEL = 0.9
# BT.2020 to BT.709, linear light (ITU-R BT.2087).
_TO_BT709 = np.array(
    [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]], np.float32
)  # fmt: skip


def color_name(names: Mapping[int, str], value: int) -> str | None:
    """Name of a colour code of H.273; None when not stated."""
    return None if value in (0, _UNSPECIFIED) else names.get(value, f"code {value}")


def tone_map(rgb: NDArray[np.uint16], *, transfer: int) -> NDArray[np.uint8]:
    """BT.709 RGB of a BT.2100 picture.

    Args:
        rgb: (height, width, 3), full-range 16-bit RGB in BT.2020 primaries.
        transfer: PQ or HLG.
    """
    # The low four bits are empty in a 10 or 12 bit picture.
    linear = _linear_light(transfer)[rgb >> 4] @ _TO_BT709.T
    peak = np.maximum(linear.max(axis=2, keepdims=True), 1e-6)
    # All channels by one factor, so that the hue stays.
    compressed = np.where(peak <= _WHITE_LEVEL, peak, 1 - (1 - _WHITE_LEVEL) * np.exp(
        -(peak - _WHITE_LEVEL) / (1 - _WHITE_LEVEL)
    ))  # fmt: skip
    shown = np.clip(linear * (compressed / peak), 0, 1)
    return np.asarray(_encode_levels()[np.round(shown * 4095).astype(np.int32)], np.uint8)


@cache
def _linear_light(transfer: int) -> Floats:
    """(4096,) light per code value, 1 = 1/_WHITE_LEVEL times diffuse white."""
    code = np.linspace(0, 1, 4096)
    if transfer == PQ:
        root = code ** (1 / 78.84375)
        light_cd = 10_000 * (np.maximum(root - 0.8359375, 0) / (18.8515625 - 18.6875 * root)) ** (1 / 0.1593017578125)
    else:
        scene = np.where(code <= 0.5, code**2 / 3, (np.exp((code - 0.55991073) / 0.17883277) + 0.28466892) / 12)
        light_cd = 1000 * scene**1.2  # BT.2100's display of 1000 cd/m²
    return np.asarray(light_cd / _WHITE_CD * _WHITE_LEVEL, np.float32)


@cache
def _encode_levels() -> NDArray[np.uint8]:
    """(4096,) 8-bit levels of linear light 0..1 by the curve of BT.709."""
    light = np.linspace(0, 1, 4096)
    level = np.where(light < 0.018, 4.5 * light, 1.099 * light**0.45 - 0.099)
    return np.asarray(np.round(255 * level), np.uint8)
