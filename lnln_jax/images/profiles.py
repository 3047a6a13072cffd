"""ICC profiles: which fits, and how to make one of what PNG files say about colour otherwise."""

import struct
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from lnln_jax.images.products import quiet_products

# x and y of white, red, green and blue (ITU-T H.273).
_D65 = (0.3127, 0.3290)
_BT709 = (*_D65, 0.640, 0.330, 0.300, 0.600, 0.150, 0.060)
_PRIMARIES = {
    1: _BT709,
    5: (*_D65, 0.640, 0.330, 0.290, 0.600, 0.150, 0.060),
    6: (*_D65, 0.630, 0.340, 0.310, 0.595, 0.155, 0.070),
    9: (*_D65, 0.708, 0.292, 0.170, 0.797, 0.131, 0.046),
    12: (*_D65, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060),
}
# Parameters g, a, b, c, d of ICC's curve of type 3: ((a x + b) ** g) from d on, below c x.
_SRGB_CURVE = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
_BT709_CURVE = (1 / 0.45, 1 / 1.099, 0.099 / 1.099, 1 / 4.5, 0.081)
_CURVES: dict[int, tuple[float, ...]] = {
    **dict.fromkeys((1, 6, 14, 15), _BT709_CURVE),
    4: (2.2,),
    5: (2.8,),
    8: (1.0,),
    13: _SRGB_CURVE,
}
_D50 = np.array([0.9642, 1.0, 0.8249])
_BRADFORD = np.array(
    [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
)
_NEAR_PRIMARIES, _NEAR_GAMMA = 0.002, 0.02


class _Space(NamedTuple):
    primaries: tuple[float, ...]
    curve: tuple[float, ...]  # one number is an exponent


def fitting_profile(icc_profile: bytes | None, channels: int) -> bytes | None:
    """Returns the profile if it is one for gray (1 or 2 channels) or RGB (3 or 4)."""
    space = b"GRAY" if channels < 3 else b"RGB "
    return icc_profile if icc_profile and icc_profile[16:20] == space else None


def profile_from_png(chunks: Mapping[bytes, bytes], *, gray: bool) -> bytes | None:
    """Makes the profile that says the same as a PNG file's cICP, or its gAMA and cHRM.

    Args:
      chunks: bodies of the chunks, by kind; cICP counts before sRGB, that before the others.
      gray: whether it is to be one of gray samples.

    Returns:
      The profile; None where the chunks say sRGB, which is what a file without a profile is.

    Raises:
      ValueError: no such profile can say it (PQ, HLG, another matrix than RGB's, narrow range).
    """
    space = _space(chunks)
    near = np.abs(np.subtract(space.primaries, _BT709)).max() < _NEAR_PRIMARIES
    curve_of_srgb = space.curve == _SRGB_CURVE or (
        len(space.curve) == 1 and abs(space.curve[0] - 2.2) < _NEAR_GAMMA
    )
    if curve_of_srgb and (near or gray):
        return None
    return _profile(space, gray)


def _space(chunks: Mapping[bytes, bytes]) -> _Space:
    if b"cICP" in chunks:
        primaries, transfer, matrix, full = chunks[b"cICP"]
        if primaries not in _PRIMARIES or transfer not in _CURVES or matrix or full != 1:
            raise ValueError(f"colours by cICP {primaries}/{transfer}/{matrix}/{full}")
        return _Space(_PRIMARIES[primaries], _CURVES[transfer])
    chromaticities: tuple[float, ...] = _BT709
    curve: tuple[float, ...] = _SRGB_CURVE
    if b"sRGB" not in chunks:
        if b"cHRM" in chunks:
            chromaticities = tuple(value / 1e5 for value in struct.unpack(">8I", chunks[b"cHRM"]))
        gamma = struct.unpack(">I", chunks.get(b"gAMA", bytes(4)))[0] / 1e5
        if 0.1 <= gamma <= 10:  # anything else is a mistake
            curve = (1 / gamma,)
    return _Space(chromaticities, curve)


def _profile(space: _Space, gray: bool) -> bytes:
    """Writes a display profile of ICC version 4.3."""
    kind, numbers = (0, space.curve) if len(space.curve) == 1 else (3, space.curve)
    curve = b"para" + struct.pack(">4xH2x", kind) + _fixed(numbers)
    tags = {b"desc": _text("PNG colour"), b"cprt": _text("No copyright"), b"wtpt": _xyz(_D50)}
    if gray:
        tags[b"kTRC"] = curve
    else:
        columns = _matrix(space.primaries).T
        tags |= {b"rXYZ": _xyz(columns[0]), b"gXYZ": _xyz(columns[1]), b"bXYZ": _xyz(columns[2])}
        tags |= {b"rTRC": curve, b"gTRC": curve, b"bTRC": curve}
    directory, body = struct.pack(">I", len(tags)), b""
    start = 128 + 4 + 12 * len(tags)
    for name, data in tags.items():
        directory += struct.pack(">4sII", name, start + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    size = start + len(body)
    head = struct.pack(
        ">I4xI4s4s4s", size, 0x04300000, b"mntr", b"GRAY" if gray else b"RGB ", b"XYZ "
    )
    head += struct.pack(">6H4s", 2020, 1, 1, 0, 0, 0, b"acsp") + bytes(28) + _fixed(_D50)
    return head.ljust(128, b"\0") + directory + body


@quiet_products()
def _matrix(primaries: tuple[float, ...]) -> np.ndarray:
    """Returns XYZ of red, green and blue in columns, adapted to D50 by Bradford's matrix."""
    if min(primaries[1::2]) <= 0:
        raise ValueError("colours by a cHRM without meaning")
    x, y = np.reshape(primaries, (4, 2)).T
    white, *rgb = np.stack([x / y, np.ones(4), (1 - x - y) / y], axis=1)
    columns = np.stack(rgb, axis=1)
    try:
        columns = columns * np.linalg.solve(columns, white)
    except np.linalg.LinAlgError:
        columns = np.full((3, 3), np.nan)
    ratio = (_BRADFORD @ _D50) / (_BRADFORD @ white)
    adapted = np.linalg.inv(_BRADFORD) @ (ratio[:, None] * (_BRADFORD @ columns))
    if not (np.abs(adapted) < 4).all():
        raise ValueError("colours by a cHRM without meaning")
    return adapted


def _fixed(numbers: np.typing.ArrayLike) -> bytes:
    return np.rint(np.asarray(numbers) * 65536).astype(">i4").tobytes()


def _xyz(values: np.ndarray) -> bytes:
    return b"XYZ " + bytes(4) + _fixed(values)


def _text(text: str) -> bytes:
    data = text.encode("utf-16-be")
    return b"mluc" + struct.pack(">4xII2s2sII", 1, 12, b"en", b"US", len(data), 28) + data
