"""The anatomy of the synthetic chest: path lengths of tissue, air and bone along rays, in two projections.

All functions take x (columns) and y (rows) in mm, see `mcads_node.phantom`, and give rows × columns float32.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Map = NDArray[np.float32]
Knots = Sequence[tuple[float, float]]

#: attenuation of soft tissue at diagnostic energies, 1/mm
TISSUE = 0.0195
#: attenuation of bone beyond the tissue it displaces, 1/mm
BONE = 0.026
#: how much tissue aerated lung still is
LUNG_DENSITY = 0.27


def pa_attenuation(x: Map, y: Map) -> Map:
    """Log attenuation of the postero-anterior projection; the patient's left is on the viewer's right."""
    body = _slab(x, y, _PA_HALF_WIDTH, _PA_DEPTH)
    lung = _pa_lungs(x, y) - _pa_mediastinum(x, y)
    air = (1 - LUNG_DENSITY) * np.maximum(lung, 0) + _pa_gas(x, y)
    tissue = np.maximum(body - air, 0) + _vessels(x, y, ((-27, 196), (32, 190))) * (lung > 5)
    attenuation: Map = (TISSUE * tissue + BONE * _pa_bones(x, y)).astype(np.float32)
    return attenuation


def lateral_attenuation(x: Map, y: Map) -> Map:
    """Log attenuation of the left lateral projection; the patient faces the viewer's left."""
    front, back = _curve(y, _LATERAL_FRONT), _curve(y, _LATERAL_BACK)
    middle, half = (front + back) / 2, (back - front) / 2
    across = np.clip(1 - np.abs((x[None] - middle[:, None]) / half[:, None]) ** 2.6, 0, None) ** 0.55
    body = _curve(y, _LATERAL_WIDTH)[:, None] * across
    lung = _lateral_lungs(x, y) - _lateral_mediastinum(x, y)
    air = (1 - LUNG_DENSITY) * np.maximum(lung, 0) + _lateral_gas(x, y)
    tissue = np.maximum(body - air, 0) + 0.8 * _vessels(x, y, ((2, 196), (6, 204))) * (lung > 20)
    # longer way through the body: a harder beam, as the exposure control would choose
    attenuation: Map = (0.8 * (TISSUE * tissue + BONE * _lateral_bones(x, y))).astype(np.float32)
    return attenuation


# ---------------------------------------------------------------- primitives


def _curve(at: Map, knots: Knots) -> Map:
    """Smooth curve through knots: linear, then averaged over some 30 mm."""
    dense = np.arange(-80.0, 520.0)
    linear = np.interp(dense, *np.transpose(knots))
    kernel = np.hanning(29)
    smooth = np.convolve(np.pad(linear, 14, mode="edge"), kernel / kernel.sum(), mode="valid")
    return np.interp(at, dense, smooth).astype(np.float32)


def _slab(x: Map, y: Map, half_width: Knots, depth: Knots) -> Map:
    """Body of rounded cross-section: thickness falls to 0 at the half width."""
    edge = _curve(y, half_width)[:, None]
    across = np.clip(1 - np.abs(x[None] / edge) ** 3, 0, None) ** 0.5
    slab: Map = (_curve(y, depth)[:, None] * across).astype(np.float32)
    return slab


def _step(distance: Map, width: float) -> Map:
    """0 … 1 over `width` mm around distance 0, smooth."""
    ramp: Map = np.clip(distance / width + 0.5, 0, 1)
    step: Map = ramp * ramp * (3 - 2 * ramp)
    return step


def _ellipsoid(
    x: Map, y: Map, centre: tuple[float, float], axes: tuple[float, float], turn: float = 0
) -> Map:
    """Chord through an ellipsoid, 0…1; `turn` in degrees, clockwise as seen."""
    cos, sin = np.cos(np.radians(turn)), np.sin(np.radians(turn))
    dx, dy = x[None] - np.float32(centre[0]), y[:, None] - np.float32(centre[1])
    u, v = (dx * cos + dy * sin) / axes[0], (dy * cos - dx * sin) / axes[1]
    chord: Map = np.sqrt(np.clip(1 - u * u - v * v, 0, None)).astype(np.float32)
    return chord


def _tube(target: Map, x: Map, y: Map, points: Sequence[Sequence[float]], hollow: float = 0) -> None:
    """Draw the chord through a tube along points of (x, y, radius, weight).

    Soft parts merge with what is there; a bone, which is mostly cortex (`hollow`), adds to it.
    """
    canvas = np.zeros_like(target) if hollow else target
    for (ax, ay, ar, aw), (bx, by, br, bw) in pairwise(points):
        reach = max(ar, br)
        c = slice(*np.searchsorted(x, (min(ax, bx) - reach, max(ax, bx) + reach)))
        r = slice(*np.searchsorted(y, (min(ay, by) - reach, max(ay, by) + reach)))
        dx, dy = x[None, c] - ax, y[r, None] - ay
        length = max((bx - ax) ** 2 + (by - ay) ** 2, 1e-6)
        along = np.clip((dx * (bx - ax) + dy * (by - ay)) / length, 0, 1)
        square = (dx - along * (bx - ax)) ** 2 + (dy - along * (by - ay)) ** 2
        radius = ar + along * (br - ar)
        inside = 1 - square / (radius * radius)
        chord = np.sqrt(np.clip(inside, 0, None))
        if hollow:
            chord = chord - hollow * np.sqrt(np.clip(inside - 0.35, 0, None))
        chord = chord * (aw + along * (bw - aw))
        canvas[r, c] = np.maximum(canvas[r, c], chord)
    if hollow:
        target += canvas


def _united(*parts: Map) -> Map:
    """Depth of organs that touch: no brighter seam where they overlap, no crease where they meet."""
    return np.sqrt(np.sum([np.square(part) for part in parts], axis=0, dtype=np.float32))


def _vessels(x: Map, y: Map, hila: Sequence[tuple[float, float]]) -> Map:
    """Vessels that branch from each hilum and taper towards the pleura, mm of tissue."""
    result = np.zeros((y.size, x.size), dtype=np.float32)
    rng = np.random.default_rng(7)
    for (x0, y0), outward in zip(hila, (np.pi, 0.0), strict=True):
        grow = [(x0, y0, outward + turn, 3.4, 30.0) for turn in np.linspace(-1.25, 1.25, 8)]
        while grow:
            ax, ay, heading, radius, length = grow.pop()
            points = [(ax, ay, radius, 3.2 * radius)]
            for _ in range(4):
                heading += rng.normal(0, 0.09)
                ax, ay = ax + length / 4 * np.cos(heading), ay + length / 4 * np.sin(heading)
                radius *= 0.93
                points.append((ax, ay, radius, 3.2 * radius))
            _tube(result, x, y, points)
            if radius > 0.75:
                spread = rng.uniform(0.18, 0.5)
                grow += [(ax, ay, heading + s, radius * 0.8, length * 0.87) for s in (spread, -spread)]
    return result


# ---------------------------------------------------------------- postero-anterior

_PA_HALF_WIDTH = (
    (0, 60),
    (30, 60),
    (52, 80),
    (75, 165),
    (110, 205),
    (165, 205),
    (190, 162),
    (300, 153),
    (400, 156),
)
_PA_DEPTH = ((0, 115), (50, 125), (90, 165), (150, 205), (230, 215), (400, 225))
_PA_OUTER = ((56, 46), (62, 66), (76, 84), (110, 108), (170, 125), (250, 136), (310, 140), (400, 140))
_PA_INNER = ((56, 46), (64, 32), (84, 25), (200, 22), (400, 24))
_PA_LUNG_DEPTH = ((56, 0), (66, 55), (90, 92), (140, 132), (220, 158), (400, 168))


def _pa_lungs(x: Map, y: Map) -> Map:
    """Depth of lung and mediastinum together, between the pleurae."""
    side = np.abs(x)[None]
    outer, inner = _curve(y, _PA_OUTER)[:, None], _curve(y, _PA_INNER)[:, None]
    cavity = _curve(y, _PA_LUNG_DEPTH)[:, None] * np.sqrt(np.clip(1 - (side / outer) ** 3, 0, None))
    cavity = cavity * _step(side - inner, 7)
    dome = np.where(x < 0, 292 + 0.0068 * (np.abs(x) - 58) ** 2, 304 + 0.0086 * (np.abs(x) - 70) ** 2)
    below = y[:, None] - dome[None]
    # behind the dome the lung reaches deeper, thinning out
    left = (1 - _step(below, 3)) + _step(below, 3) * 0.17 * np.clip(1 - below / 40, 0, 1)
    return (cavity * left).astype(np.float32)


def _pa_mediastinum(x: Map, y: Map) -> Map:
    """Depth of heart, great vessels and hila, which displace lung."""
    heart = 112 * _ellipsoid(x, y, (24, 250), (66, 50), 32)
    atria = 78 * _ellipsoid(x, y, (-10, 244), (36, 48)), 60 * _ellipsoid(x, y, (20, 206), (36, 38))
    vessels = np.zeros_like(heart)
    _tube(vessels, x, y, [(10, 138, 15, 50), (20, 141, 17, 55), (23, 150, 17, 55), (22, 162, 14, 45)])
    _tube(vessels, x, y, [(22, 162, 14, 45), (24, 200, 13, 34), (22, 330, 12, 30)])
    _tube(vessels, x, y, [(-14, 60, 13, 30), (-15, 150, 14, 45), (-16, 215, 18, 50)])
    hila = np.zeros_like(heart)
    _tube(hila, x, y, [(-18, 184, 9, 16), (-34, 196, 9, 16), (-42, 214, 7, 13), (-46, 236, 4, 8)])
    _tube(hila, x, y, [(26, 180, 9, 16), (42, 184, 9, 16), (50, 200, 7, 13), (54, 222, 4, 8)])
    return _united(heart, *atria, vessels, hila)


def _pa_gas(x: Map, y: Map) -> Map:
    """Air in the trachea, the main bronchi and the stomach."""
    gas = np.zeros((y.size, x.size), dtype=np.float32)
    _tube(gas, x, y, [(0, -20, 9, 17), (-1, 60, 9, 17), (-3, 165, 9, 17)])
    _tube(gas, x, y, [(-3, 163, 8, 13), (-24, 188, 7, 11)])
    _tube(gas, x, y, [(-3, 163, 7, 13), (30, 190, 6, 9)])
    return gas + 55 * _ellipsoid(x, y, (64, 334), (30, 17), 6)


def _pa_bones(x: Map, y: Map) -> Map:
    """Spine, ribs, clavicles, scapulae and shoulders, mm of bone."""
    bone = 0.62 * _spine(x, y, np.zeros_like(y), 17, 24)
    for i in range(11):
        top, reach = 44 + 23.5 * i, 0.6 + 0.4 * min(i, 4) / 4
        depth, slope = 86 * reach, 0.28 + 0.028 * min(i, 9)
        half = float(np.interp(top + slope * depth, *np.transpose(_PA_OUTER))) * (0.98 if i else 0.8) + 3
        angle = np.radians(np.linspace(9, 136 if i < 7 else 118, 34))
        across, down = half * np.sin(angle), top + slope * depth * (1 - np.cos(angle))
        # the rib's flat face is seen behind and in front, its edge at the side, where the ray runs along it
        weight = np.interp(np.degrees(angle), (9, 60, 88, 112, 136), (9, 11, 12, 7.5, 4))
        radius = np.interp(np.degrees(angle), (9, 60, 120, 136), (4.6, 6.2, 6.6, 7.2))
        for sign in (-1, 1):
            _tube(bone, x, y, np.transpose((sign * across, down, radius, weight)).tolist(), hollow=0.45)
    for sign in (-1, 1):
        clavicle = (
            (17, 103, 8, 13),
            (36, 97, 6.5, 14),
            (75, 84, 5.5, 14),
            (115, 70, 6, 13),
            (150, 66, 7, 12),
        )
        _tube(bone, x, y, [(sign * px, *rest) for px, *rest in clavicle], hollow=0.5)
        blade = ((128, 84, 5, 5), (122, 120, 3, 4), (130, 170, 3, 4), (145, 200, 5, 5), (152, 160, 4, 5))
        _tube(bone, x, y, [(sign * px, *rest) for px, *rest in (*blade, (160, 112, 8, 6))], hollow=0.3)
        bone += 2.2 * _ellipsoid(x, y, (sign * 143, 138), (22, 58), sign * -10) ** 0.3
        bone += 24 * _ellipsoid(x, y, (sign * 178, 106), (25, 26))
    return bone


def _spine(x: Map, y: Map, middle: Map, half: float, period: float) -> Map:
    """Vertebral bodies with brighter end plates, and discs between them."""
    across = np.abs(x[None] - middle[:, None]) / half
    phase = np.abs(((y - 8) / period) % 1 - 0.5)[:, None]
    disc = _step(np.asarray(phase - 0.43), 0.06)
    plate = _step(np.asarray(phase - 0.36), 0.08)
    waist = 1 - 0.12 * np.cos(np.pi * phase * 2) ** 2
    body = _step(np.asarray(waist - across), 0.16) * (
        0.8 + 0.35 * _step(np.asarray(across - waist + 0.2), 0.2)
    )
    return (body * (17 + 5 * plate) * (1 - 0.5 * disc)).astype(np.float32)


# ---------------------------------------------------------------- left lateral

_LATERAL_FRONT = ((0, -42), (30, -48), (60, -75), (100, -118), (180, -135), (260, -138), (400, -130))
_LATERAL_BACK = ((0, 55), (40, 72), (90, 112), (160, 132), (260, 124), (340, 104), (400, 96))
_LATERAL_WIDTH = ((0, 130), (40, 230), (70, 330), (120, 345), (160, 300), (220, 270), (400, 285))
_LUNG_FRONT = ((62, 6), (70, -22), (90, -62), (130, -96), (200, -114), (300, -118), (400, -118))
_LUNG_BACK = ((62, 6), (70, 40), (90, 72), (140, 100), (200, 106), (280, 96), (400, 84))
_LUNG_WIDTH = ((62, 0), (75, 60), (100, 130), (150, 190), (230, 222), (400, 228))
_LATERAL_SPINE = ((0, 24), (60, 42), (110, 64), (170, 76), (250, 70), (330, 54), (400, 42))


def _lateral_lungs(x: Map, y: Map) -> Map:
    """Width of both lungs together, between front and back."""
    front, back = _curve(y, _LUNG_FRONT)[:, None], _curve(y, _LUNG_BACK)[:, None]
    half = np.maximum((back - front) / 2, 0.5)
    across = np.clip(1 - np.abs((x[None] - (front + back) / 2) / half) ** 3, 0, None) ** 0.6
    remains = np.zeros((y.size, x.size), dtype=np.float32)
    for top, peak in ((268, -38), (282, -30)):
        dome = top + np.where(x < peak, 0.0032, 0.0058) * (x - peak) ** 2
        remains += 0.5 * (1 - _step(y[:, None] - dome[None], 3))
    width: Map = (_curve(y, _LUNG_WIDTH)[:, None] * across * remains).astype(np.float32)
    return width


def _lateral_mediastinum(x: Map, y: Map) -> Map:
    """Width of heart, aortic arch, hilum and spine's surroundings, which displace lung."""
    heart = _united(
        112 * _ellipsoid(x, y, (-54, 246), (46, 68), 28), 60 * _ellipsoid(x, y, (-14, 232), (34, 48), 6)
    )
    aorta, hilum = np.zeros_like(heart), np.zeros_like(heart)
    angle = np.linspace(np.pi, 0.1, 14)
    arch = np.transpose((-8 + 46 * np.cos(angle), 168 - 44 * np.sin(angle), 14 + 0 * angle, 40 + 0 * angle))
    _tube(aorta, x, y, [(-46, 215, 15, 40), *arch.tolist(), (50, 215, 12, 26), (52, 330, 11, 24)])
    _tube(hilum, x, y, [(-12, 190, 13, 26), (2, 196, 13, 26), (12, 212, 8, 16), (18, 234, 5, 10)])
    neck: Map = 60 * _ellipsoid(x, y, (-8, 60), (26, 110), -6)
    spine = _curve(y, _LATERAL_SPINE)[:, None]
    around = np.sqrt(np.clip(1 - ((x[None] - spine - 4) / 26) ** 2, 0, None)).astype(np.float32)
    space: Map = _united(heart, aorta, hilum, neck) + 46 * around
    return space


def _lateral_gas(x: Map, y: Map) -> Map:
    """Air in the trachea and the stomach."""
    gas = np.zeros((y.size, x.size), dtype=np.float32)
    _tube(gas, x, y, [(-14, -10, 9, 24), (-2, 90, 9, 26), (10, 185, 8, 24)])
    return gas + 70 * _ellipsoid(x, y, (-36, 312), (28, 15), -4)


def _lateral_bones(x: Map, y: Map) -> Map:
    """Spine, both sides' ribs, sternum and the shoulders' blades, mm of bone."""
    bone = _spine(x, y, _curve(y, _LATERAL_SPINE), 17, 25)
    for i in range(11):
        for shift, scale in ((0.0, 1.0), (9.0, 1.05)):
            top = 52 + 23.5 * i
            drop = 34 + 6 * min(i, 8)
            angle = np.linspace(0.05, 0.80 if i < 7 else 0.66, 30) * np.pi
            back = float(np.interp(top, *np.transpose(_LUNG_BACK))) * scale + 2
            front = float(np.interp(top + drop, *np.transpose(_LUNG_FRONT))) * scale
            along = (back + front) / 2 + (back - front) / 2 * np.cos(angle)
            down = top + shift + drop * (1 - np.cos(angle)) + 12 * np.sin(angle) ** 2
            weight = np.interp(angle / np.pi, (0.05, 0.2, 0.65, 0.8), (14, 10, 8, 4))
            radius = np.full_like(angle, 5.2 * scale)
            _tube(bone, x, y, np.transpose((along, down, radius, weight)).tolist(), hollow=0.45)
    sternum = [(-96, 104, 6, 16), (-112, 132, 5, 14), (-122, 190, 5, 13), (-124, 240, 4, 8)]
    _tube(bone, x, y, sternum, hollow=0.5)
    for shift in (0, 12):
        blade = [(70 + shift, 70, 5, 8), (92 + shift, 120, 4, 7), (100 + shift, 172, 4, 6)]
        _tube(bone, x, y, blade, hollow=0.4)
    return bone
