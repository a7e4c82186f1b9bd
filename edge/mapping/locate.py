"""Finds where a sign stands from the looks at it, by least squares, and says how sure that is.

Unknown are the sign's place (two angles and the logarithm of its distance from the nearest look), its width, where it faces, and what may be wrong with all
poses alike: a turn about each axis and a delay. The sign's usual size counts as one more measurement: it tells the distance where the looks are from one
place, and hardly counts where the drone moved. Errors of poses are taken to be partly the same in all looks and partly each look's own; how much the looks
disagree among each other tells how they divide (after J. W. Tukey's and P. J. Huber's robust fits and the variance components of geodesy).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edge.mapping.sight import Floats, Sight
from edge.mapping.sizes import Size

MOST_LOOKS = 40
"""Looks beyond are thinned out evenly."""
DELAY_S = 0.04
"""Standard deviation of what is left of the delay between picture and pose."""
R95 = math.sqrt(-2 * math.log(0.05))
"""Of a bell in the plane that is alike to all sides, 95% lies within so many standard deviations."""

_UNTOLD = 1.15
"""How much larger errors are than poses and looks say: they wander within a track. Measured on drawn flights (`python -m benchmarks place`)."""
_TURN_SIGMA, _STEPS, _ROUNDS, _TOLERANCE = math.radians(35), 2, 3, 2e-2
_CENTRE_PX, _CENTRE_SHARE, _SIDE_PX, _SIDE_SHARE = 0.5, 0.03, 1.0, 0.05
_ROBUST, _GAP, _JUMPS_M = 2.0, 1e-4, 0.2
_PLACE, _SIZE, _FACING, _TILT, _DELAY = slice(0, 3), 3, 4, slice(5, 8), 8
_UNKNOWNS = 9
_FACINGS = np.radians(np.arange(-75.0, 76.0, 7.5))


@dataclass(frozen=True, eq=False)
class Fix:
    """Where a sign stands.

    Attributes:
        place: of its middle, (3,): metres to the east, up, and to the north in the plane of its looks.
        covariance: of the place, (3, 3), square metres.
        facing_deg: where its face looks, clockwise from north.
        facing_sigma_deg: standard deviation of that.
        width_m: of its face.
    """

    place: Floats
    covariance: Floats
    facing_deg: float
    facing_sigma_deg: float
    width_m: float

    @property
    def sigma_m(self) -> float:
        """Radius of the circle in the plane that holds it with 95%, divided by `R95`."""
        return radius_95(self.covariance[::2, ::2]) / R95


def radius_95(covariance: Floats) -> float:
    """Return the radius about its middle within which 95% of a bell in the plane lies, by its covariance, (2, 2).

    Source: a fit to the integral, within 0.5%: between 1.96 (all on a line) and 2.45 (alike to all sides) standard deviations of the longer axis.
    """
    small, large = np.sqrt(np.maximum(np.linalg.eigvalsh(covariance), 0.0)).tolist()
    ratio = small / large if large > 0 else 0.0
    return float(large * math.sqrt(1.96**2 + (R95**2 - 1.96**2) * ratio**2 * (0.42 + 0.58 * ratio**2)))


def locate(looks: Sequence[Sight], size: Size) -> Fix:
    """Return where a sign stands, by one look or more, in order of time, at a sign of a size."""
    return _Fit(looks, size).solve()


class _Fit:
    """The looks as arrays, and the unknowns on their way to a solution."""

    def __init__(self, looks: Sequence[Sight], size: Size) -> None:
        self._size = size
        self._places, self._axes = np.array([look.place for look in looks]), np.array([look.axes for look in looks])
        self._sigma_m, self._sigma_rad = (float(np.mean([getattr(look, name) for look in looks])) for name in ("sigma_m", "sigma_rad"))
        self._curve = _curve(np.array([look.time_s for look in looks]))
        self._shared_m2 = self._sigma_m**2
        self._smooth()
        self._speeds, self._turns = self._rates()
        boxes, pixels = np.array([look.box for look in looks]), np.array([look.pixel for look in looks])
        if len(looks) > MOST_LOOKS:
            some = np.linspace(0, len(looks) - 1, MOST_LOOKS).round().astype(int)
            self._places, self._axes, self._speeds, self._turns, boxes, pixels = (
                values[some] for values in (self._places, self._axes, self._speeds, self._turns, boxes, pixels)
            )
        self._by_coordinate = (
            np.ascontiguousarray(self._axes.transpose(1, 2, 0)),
            *(np.ascontiguousarray(values.T) for values in (self._places, self._speeds, self._turns)),
        )
        self._measured = np.hstack([boxes[:, :2], np.log(boxes[:, 2:])])
        sides = boxes[:, 2:].max(axis=1)
        self._base = np.stack([np.hypot(_CENTRE_PX * pixels, _CENTRE_SHARE * sides), np.hypot(_SIDE_PX * pixels / sides, _SIDE_SHARE)], axis=1)
        nearest = int(sides.argmax())
        self._origin = self._places[nearest]
        ahead = np.array([*boxes[nearest, :2], 1.0]) @ self._axes[nearest]
        length = float(np.linalg.norm(ahead))
        self._frame = _frame(ahead / length)
        self._prior = np.zeros(_UNKNOWNS)
        self._prior[_SIZE], self._prior[_FACING] = size.log_width, _back(boxes[0], self._axes[0])
        self._state = self._prior.copy()
        self._state[2] = size.log_width - math.log(sides[nearest] / length)
        self._own, self._scale = 0.0, np.ones(2)

    def _smooth(self) -> None:
        """Put the looks on the smooth way that a drone flies, where their places jump: a place's own error would shorten the way and so the distances.

        What is told of a place's error is then split into what jumps, of which the way keeps little, and what all looks share.
        """
        basis = self._curve[0]
        count, knots = basis.shape
        if count <= knots or knots < 2 or self._sigma_m <= 0:
            return
        way = basis @ np.linalg.lstsq(basis, self._places, rcond=None)[0]
        off = self._places - way
        jumps_m2 = float(np.square(off).sum(axis=0).mean()) / (count - knots)
        if jumps_m2 < _JUMPS_M**2:
            return
        alike = max(float((off[1:] * off[:-1]).sum() / np.square(off).sum()), 0.0)
        kept = min(knots**2 / count * (1 + alike) / max(1 - alike, 0.1), 1.0)  # at the way's ends, where the sign is nearest
        self._places = way
        self._shared_m2 = max(self._sigma_m**2 - jumps_m2, 0.0) + jumps_m2 * kept

    def _rates(self) -> tuple[Floats, Floats]:
        """Return the speed, metres a second in the world, and the rate of turn, radians a second about the camera's axes, of each look, (n, 3) each."""
        basis, slopes = self._curve
        turned = np.einsum("nij,kj->nik", self._axes, self._axes[len(self._axes) // 2])  # from the middle look's camera to each
        # The turns between looks are small: their vectors are the skew parts.
        vectors = np.stack([turned[:, 2, 1] - turned[:, 1, 2], turned[:, 0, 2] - turned[:, 2, 0], turned[:, 1, 0] - turned[:, 0, 1]], axis=1) / 2
        speeds, turns = (slopes @ np.linalg.lstsq(basis, values, rcond=None)[0] for values in (self._places, vectors))
        return speeds, turns

    def solve(self) -> Fix:
        information = np.eye(_UNKNOWNS)
        for turn in range(_ROUNDS):
            if turn in (0, _ROUNDS - 1):  # at first, and once more when it is known how the looks are to be weighed
                self._turn_face()
            information = self._descend()
            self._weigh()
        covariance = np.linalg.inv(information)
        carried = self._jacobian_of_place()
        place = _UNTOLD**2 * (carried @ covariance[_PLACE, _PLACE] @ carried.T + self._shared_m2 * np.eye(3))
        facing, sigma = math.degrees(self._state[_FACING]) % 360, math.degrees(math.sqrt(covariance[_FACING, _FACING]))
        return Fix(self._place(self._state[None])[0], place, facing, sigma, math.exp(self._state[_SIZE]))

    def _descend(self) -> Floats:
        """Go downhill from the state by damped steps of Gauss and Newton; returns the information, (unknowns, unknowns), there."""
        weights = np.diag(self._prior_weights())
        information = weights
        for _ in range(_STEPS):
            shifts = np.vstack([np.zeros(_UNKNOWNS), _GAP * np.eye(_UNKNOWNS)])
            predicted = self._predict(self._state + shifts)
            sigmas = self._sigmas()
            residuals = (self._measured - predicted[0]) / sigmas
            slopes = ((predicted[1:] - predicted[0]) / _GAP / sigmas).reshape(_UNKNOWNS, -1)
            trust = 1 / np.maximum(np.abs(residuals) / _ROBUST, 1.0).ravel()
            information = (slopes * trust) @ slopes.T + weights
            off = self._prior - self._state
            off[_FACING] = (off[_FACING] + math.pi) % (2 * math.pi) - math.pi
            step = np.linalg.solve(information, (slopes * trust) @ residuals.ravel() + weights @ off)
            step[2] = np.clip(step[2], -1.0, 1.0)
            step[_FACING] = np.clip(step[_FACING], -0.6, 0.6)
            self._state = self._state + step
            if np.abs(step).max() < _TOLERANCE:
                break
        return information

    def _turn_face(self) -> None:
        """Try other facings: a sign that is turned to the left looks as narrow as one that is turned to the right, until the drone has passed it."""
        tried = np.repeat(self._state[None], len(_FACINGS), axis=0)
        tried[:, _FACING] = self._prior[_FACING] + _FACINGS
        off = (self._measured - self._predict(tried)) / self._sigmas()
        costs = np.where(np.abs(off) < _ROBUST, np.square(off), _ROBUST * (2 * np.abs(off) - _ROBUST)).sum(axis=(1, 2)) + np.square(_FACINGS / _TURN_SIGMA)
        self._state = tried[int(costs.argmin())]

    def _weigh(self) -> None:
        """Divide the poses' errors into each look's own and those of all looks, by what is left of the looks, and scale the sigmas to it."""
        self._scale = np.ones(2)
        left = self._measured - self._predict(self._state[None])[0]
        shares, few = np.linspace(0, 1, 21), max(2 * len(left) - 5, 1) / (2 * len(left))
        variances = np.square(self._base[:, :1]) + shares * self._sigma_rad**2
        off = (np.square(left[:, :2]).mean(axis=1, keepdims=True) / variances).mean(axis=0)
        self._own = 0.0 if len(left) <= 2 else float(shares[np.argmax(off <= few)]) if off[-1] <= few else 1.0
        normal = left / self._sigmas()
        for group in (0, 1):
            part = normal[:, 2 * group : 2 * group + 2]
            if len(part) < 4:
                continue
            alike = float((part[1:] * part[:-1]).sum() / max(float(np.square(part).sum()), 1e-12))
            spread = max(float(np.square(part).mean()) / few, 1.0)
            self._scale[group] = math.sqrt(spread * (1 + max(alike, 0.0)) / (1 - min(max(alike, 0.0), 0.9)))

    def _sigmas(self) -> Floats:
        """Return the standard deviation of what was measured, (n, 4)."""
        centre, side = np.hypot(self._base[:, 0], math.sqrt(self._own) * self._sigma_rad), self._base[:, 1]
        return np.stack([centre, centre, side, side], axis=1) * np.repeat(self._scale, 2)

    def _prior_weights(self) -> Floats:
        shared = math.sqrt(max(1 - self._own, 0.01))
        sigmas = np.array([1e3, 1e3, 1e3, self._size.sigma, _TURN_SIGMA, *[self._sigma_rad * shared] * 3, DELAY_S])
        return np.asarray(1 / np.square(np.maximum(sigmas, 1e-6)), np.float64)

    def _place(self, states: Floats) -> Floats:
        """Return the places of states, (m, unknowns), as (m, 3)."""
        sights: Floats = states[:, :2] @ self._frame[:2] + self._frame[2]
        places: Floats = self._origin + np.exp(states[:, 2:3]) * sights
        return places

    def _jacobian_of_place(self) -> Floats:
        far = math.exp(self._state[2])
        sight = self._state[:2] @ self._frame[:2] + self._frame[2]
        carried: Floats = far * np.stack([self._frame[0], self._frame[1], sight], axis=1)
        return carried

    def _predict(self, states: Floats) -> Floats:
        """Return what each of n looks would measure in states, (m, unknowns), as (m, n, 4): middle x and y, logarithms of width and height."""
        half, facing, delays = np.exp(states[:, _SIZE, None]) / 2, states[:, _FACING, None], states[:, _DELAY, None]
        # Coordinates come first, (3, m, n), so that each is one block of memory: this is where most of the time of placing goes.
        axes, places, speeds, turns = self._by_coordinate
        offset = self._place(states).T[:, :, None] - (places[:, None] + speeds[:, None] * delays)
        x, y, z = np.einsum("ijn,jmn->imn", axes, offset)
        a, b, c = states[:, _TILT].T[:, :, None] + turns[:, None] * delays
        x, y, z = x + b * z - c * y, y + c * x - a * z, np.maximum(z + a * y - b * x, 0.05)
        sides = half * np.cos(facing) * axes[:, 0, None] - half * np.sin(facing) * axes[:, 2, None], self._size.aspect * half * axes[:, 1, None]
        seen = [(reach[:2] * z - np.stack([x, y]) * reach[2]) / np.maximum(np.square(z) - np.square(reach[2]), 1e-4) for reach in sides]
        wide, high = np.hypot(*seen)
        predicted = np.empty((*x.shape, 4))
        predicted[..., 0], predicted[..., 1] = x / z, y / z
        predicted[..., 2], predicted[..., 3] = np.log(2 * np.maximum(wide, 1e-9)), np.log(2 * np.maximum(high, 1e-9))
        return predicted


def _frame(sight: Floats) -> Floats:
    """Return two directions across one, and itself, as rows, (3, 3)."""
    level = np.array([sight[2], 0.0, -sight[0]])
    length = float(np.linalg.norm(level))
    level = level / length if length > 1e-6 else np.array([1.0, 0.0, 0.0])
    return np.stack([level, np.cross(sight, level), sight])


def _back(box: Floats, axes: Floats) -> float:
    """Return the way from a sign back to a look, radians clockwise from north: who is to read a sign sees it first from where it faces."""
    sight = np.array([*box[:2], 1.0]) @ axes
    return math.atan2(-sight[0], -sight[2])


def _curve(times: Floats) -> tuple[Floats, Floats]:
    """Return polynomials of time, (n, k), and their rates a second, (n, k): as many as a drone's way may need in that time."""
    span = float(times[-1] - times[0])
    degree = 0 if len(times) < 4 or span < 0.1 else min(3 + int(span > 4), len(times) // 4)
    scaled = (times - times.mean()) / max(span, 1e-9)
    basis = np.stack([scaled**power for power in range(degree + 1)], axis=1)
    return basis, np.stack([power * scaled ** max(power - 1, 0) for power in range(degree + 1)], axis=1) / max(span, 1e-9)
