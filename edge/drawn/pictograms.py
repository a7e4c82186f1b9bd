"""The pictograms of German traffic signs as polygons and lines: arrows, vehicles, people, animals and weather. `edge.drawn.signs` puts them on boards.

Those on warning signs are given in units of the triangle's own box, which is less high than wide.
"""

from __future__ import annotations

import numpy as np

from edge.drawn.canvas import BLACK, GREEN, RED, WHITE, YELLOW, Canvas, Colour, Layer, Points, ellipse, path_of

_CAR_BODY = path_of(
    (-0.5, 0.35), (-0.47, 0.46), (-0.42, 0.53), (0.42, 0.53), (0.47, 0.46), (0.5, 0.35),
    (0.46, 0.24), (0.28, 0.22), (0.18, 0.17), (-0.18, 0.17), (-0.28, 0.22), (-0.46, 0.24),
)  # fmt: skip


def arrow(*points: tuple[float, float], notch: float = 0.3, head: float = 0.3) -> Layer:
    """Return a white arrow along points."""
    return lambda canvas: canvas.arrow(path_of(*points), WHITE, notch=notch, head=head)


def turn(*, mirror: bool) -> Layer:
    """Return a stem from below that bends aside in a round corner (to the right, or mirrored)."""
    path = np.concatenate([path_of((0.36, 0.84)), ellipse(0.52, 0.53, 0.16, 0.16, 180, 270), path_of((0.84, 0.37))])
    return lambda canvas: canvas.arrow(_mirrored(path, mirror), WHITE, head=0.28, notch=0.25)


def ahead_or_turn(*, mirror: bool) -> Layer:
    """Return an arrow ahead from which a second one branches aside (to the right, or mirrored)."""
    ahead = path_of((0.37, 0.87), (0.37, 0.12))
    branch = np.concatenate([path_of((0.37, 0.8)), ellipse(0.54, 0.74, 0.17, 0.17, 180, 270), path_of((0.88, 0.57))])

    def paint(canvas: Canvas) -> None:
        for path in (ahead, branch):
            canvas.arrow(_mirrored(path, mirror), WHITE, width=0.1, head=0.24, notch=0.25)

    return paint


def roundabout(turned_deg: float) -> Layer:
    """Return three arrows that chase each other round the middle."""

    def paint(canvas: Canvas) -> None:
        for start in np.deg2rad([turned_deg, turned_deg + 120, turned_deg + 240]):
            angle = start - np.linspace(0, 1.34, 20)
            arc = 0.5 + 0.285 * np.stack([np.cos(angle), np.sin(angle)], axis=1)
            tip = arc[-1] + 0.12 * np.array([np.sin(angle[-1]), -np.cos(angle[-1])])
            canvas.arrow(np.vstack([arc, tip]), WHITE, width=0.062, head=0.18, notch=0.5)

    return paint


def _mirrored(path: Points, mirror: bool) -> Points:
    return np.array([1.0, 0.0]) + path * np.array([-1.0, 1.0]) if mirror else path


def bar(canvas: Canvas) -> None:
    """Paint the white bar of "no entry"."""
    canvas.stroke(path_of((0.1, 0.5), (0.9, 0.5)), 0.175, WHITE)


def end_bars(canvas: Canvas) -> None:
    """Paint the five black lines, from the lower left to the upper right, that end a restriction."""
    along, across = np.array([0.68, -0.733]), np.array([0.733, 0.68])
    for offset in (-0.072, -0.036, 0.0, 0.036, 0.072):
        middle, half = 0.5 + across * offset, np.sqrt(0.462**2 - offset**2)
        canvas.stroke(np.stack([middle - along * half, middle + along * half]), 0.024, BLACK)


def cars(left: Colour, right: Colour, *, width: float, bottom: float, apart: float) -> Layer:
    """Return two cars from behind, side by side, whose middles are `apart`."""

    def paint(canvas: Canvas) -> None:
        _car(canvas, left, 0.5 - apart / 2, bottom, width)
        _car(canvas, right, 0.5 + apart / 2, bottom, width)

    return paint


def lorry_and_car(left: Colour, right: Colour, *, width: float, bottom: float, apart: float) -> Layer:
    """Return a lorry and a car from behind, side by side, whose middles are `apart`."""

    def paint(canvas: Canvas) -> None:
        x, y = 0.5 - apart / 2, bottom
        box = path_of((-0.5, 1.26), (0.5, 1.26), (0.5, 0.24), (0.2, 0.24), (0.12, 0.14), (-0.12, 0.14), (-0.2, 0.24), (-0.5, 0.24))
        canvas.fill(np.array([x, y]) + box * np.array([width, -width]), left)
        for wheel in (-0.33, 0.33):
            canvas.fill(_box(x + (wheel - 0.08) * width, y - 0.26 * width, x + (wheel + 0.08) * width, y), left)
        _car(canvas, right, 0.5 + apart / 2, bottom, width)

    return paint


def ground_line(y: float) -> Layer:
    """Return the line on which vehicles stand on older signs."""
    return lambda canvas: canvas.stroke(path_of((0.22, y), (0.78, y)), 0.016, BLACK)


def _car(canvas: Canvas, colour: Colour, x: float, bottom: float, width: float) -> None:
    place, scale = np.array([x, bottom]), np.array([width, -width])
    canvas.fill(place + _CAR_BODY * scale, colour)
    canvas.stroke(place + path_of((-0.43, 0.5), (-0.34, 0.79), (0.34, 0.79), (0.43, 0.5)) * scale, 0.07 * width, colour)
    for wheel in (-0.36, 0.36):
        canvas.fill(_box(x + (wheel - 0.08) * width, bottom - 0.28 * width, x + (wheel + 0.08) * width, bottom), colour)


def lorry(canvas: Canvas) -> None:
    """Paint a lorry from the side that drives to the left."""
    canvas.fill(_box(0.385, 0.355, 0.78, 0.55), BLACK)
    canvas.fill(path_of((0.213, 0.635), (0.213, 0.55), (0.243, 0.445), (0.262, 0.43), (0.37, 0.43), (0.37, 0.57), (0.785, 0.57), (0.785, 0.625)), BLACK)
    canvas.fill(path_of((0.233, 0.535), (0.255, 0.458), (0.325, 0.458), (0.325, 0.535)), WHITE)
    for x in (0.3, 0.66):
        canvas.disc(x, 0.63, 0.068, WHITE)
        canvas.disc(x, 0.63, 0.053, BLACK)


def bonneted_lorry(canvas: Canvas) -> None:
    """Paint the lorry of older signs, whose bonnet stands out to the left."""
    canvas.fill(_box(0.4, 0.38, 0.76, 0.545), BLACK)
    front = path_of((0.22, 0.625), (0.24, 0.6), (0.245, 0.54), (0.335, 0.53), (0.35, 0.46), (0.385, 0.455))
    canvas.fill(np.vstack([front, path_of((0.385, 0.565), (0.775, 0.565), (0.745, 0.6), (0.4, 0.61))]), BLACK)
    for x in (0.33, 0.65):
        canvas.disc(x, 0.605, 0.048, BLACK)


def _box(x1: float, y1: float, x2: float, y2: float) -> Points:
    return path_of((x1, y1), (x2, y1), (x2, y2), (x1, y2))


def _on_triangle(*points: tuple[float, float]) -> Points:
    on_board: Points = path_of(*points) * np.array([1.0, 0.887]) + np.array([0.0, 0.063])
    return on_board


def _fill(canvas: Canvas, *points: tuple[float, float]) -> None:
    canvas.fill(_on_triangle(*points), BLACK)


def _line(canvas: Canvas, width: float, *points: tuple[float, float], round_ends: bool = True) -> None:
    canvas.stroke(_on_triangle(*points), width, BLACK, round_ends=round_ends)


def _disc(canvas: Canvas, x: float, y: float, radius: float, colour: Colour = BLACK) -> None:
    x, y = _on_triangle((x, y))[0]
    canvas.disc(x, y, radius, colour)


def priority(canvas: Canvas) -> None:
    """Paint the broad arrow ahead that crosses a thin road."""
    _fill(canvas, (0.5, 0.39), (0.582, 0.475), (0.582, 0.815), (0.5, 0.735), (0.418, 0.815), (0.418, 0.475))
    _line(canvas, 0.055, (0.335, 0.61), (0.665, 0.61), round_ends=False)


def exclamation(canvas: Canvas) -> None:
    """Paint an exclamation mark."""
    _fill(canvas, (0.452, 0.38), (0.548, 0.38), (0.524, 0.67), (0.476, 0.67))
    _disc(canvas, 0.5, 0.38, 0.048)
    _disc(canvas, 0.5, 0.67, 0.024)
    _disc(canvas, 0.5, 0.785, 0.05)


def bend(*, mirror: bool) -> Layer:
    """Return the road that bends to the left (or mirrored, to the right)."""
    stem = np.concatenate([path_of((0.6, 0.79)), ellipse(0.48, 0.665, 0.12, 0.1, 0, -90), path_of((0.415, 0.565))])
    return _road(_mirrored(stem, mirror))


def _road(path: Points) -> Layer:
    """Return a broad line with a pointed end and a notched start."""
    path = _on_triangle(*[(x, y) for x, y in path.tolist()])
    half = 0.044

    def paint(canvas: Canvas) -> None:
        canvas.stroke(path, 2 * half, BLACK)
        ahead = (path[-1] - path[-2]) / np.hypot(*(path[-1] - path[-2]))
        aside = np.array([-ahead[1], ahead[0]]) * half
        canvas.fill(np.stack([path[-1] + aside, path[-1] + ahead * 0.035, path[-1] - aside]), BLACK)
        x, y = path[0]
        canvas.fill(path_of((x - half, y - 0.001), (x, y - 0.001), (x - half, y + 0.035)), BLACK)
        canvas.fill(path_of((x + half, y - 0.001), (x, y - 0.001), (x + half, y + 0.035)), BLACK)

    return paint


double_bend = _road(path_of((0.6, 0.785), (0.6, 0.595), (0.48, 0.64), (0.48, 0.44)))


def bumps(canvas: Canvas) -> None:
    """Paint two bumps in the road."""
    across = np.linspace(0.28, 0.72, 60)
    from_top = np.minimum(np.abs(across - 0.4), np.abs(across - 0.6))
    rise = np.where(from_top < 0.1, 1 + np.cos(from_top / 0.1 * np.pi), 0)
    _fill(canvas, *zip(across.tolist(), (0.76 - 0.037 * rise).tolist(), strict=True), (0.72, 0.815), (0.28, 0.815))


def skidding(canvas: Canvas) -> None:
    """Paint a car that skids, and its tracks."""
    _fill(canvas, (0.345, 0.52), (0.375, 0.5), (0.575, 0.545), (0.602, 0.58), (0.595, 0.62), (0.583, 0.66), (0.47, 0.64), (0.4, 0.62), (0.338, 0.6))
    _fill(canvas, (0.338, 0.58), (0.378, 0.59), (0.37, 0.66), (0.338, 0.655))
    _fill(canvas, (0.54, 0.63), (0.588, 0.635), (0.572, 0.705), (0.535, 0.695))
    _line(canvas, 0.014, (0.382, 0.51), (0.41, 0.435), (0.575, 0.47), (0.588, 0.55))
    _line(canvas, 0.016, (0.425, 0.69), (0.345, 0.705), (0.29, 0.73), (0.278, 0.75), (0.295, 0.765))
    _line(canvas, 0.018, (0.475, 0.695), (0.42, 0.71), (0.37, 0.738), (0.372, 0.75), (0.405, 0.755), (0.412, 0.775), (0.38, 0.797), (0.31, 0.803))
    _line(canvas, 0.016, (0.5, 0.705), (0.477, 0.73), (0.49, 0.755), (0.53, 0.765), (0.645, 0.757), (0.675, 0.772), (0.66, 0.79))


def narrowing(canvas: Canvas) -> None:
    """Paint a road of which the right side comes nearer."""
    _line(canvas, 0.047, (0.447, 0.44), (0.447, 0.82), round_ends=False)
    _line(canvas, 0.047, (0.545, 0.44), (0.545, 0.575), (0.605, 0.64), (0.605, 0.82), round_ends=False)


def narrowing_on_both_sides(canvas: Canvas) -> None:
    """Paint a road of which both sides come nearer."""
    for side in (-1, 1):
        path = [(0.5 + side * x, y) for x, y in ((0.052, 0.44), (0.052, 0.575), (0.112, 0.64), (0.112, 0.82))]
        _line(canvas, 0.05, *path, round_ends=False)


def digging(canvas: Canvas) -> None:
    """Paint a man with a shovel before a heap."""
    _disc(canvas, 0.548, 0.448, 0.033)
    _fill(
        canvas, (0.363, 0.57), (0.39, 0.495), (0.42, 0.472), (0.505, 0.472), (0.522, 0.5), (0.522, 0.65), (0.52, 0.683), (0.503, 0.69), (0.485, 0.668),
        (0.484, 0.63), (0.488, 0.585), (0.466, 0.617), (0.415, 0.61), (0.41, 0.59), (0.435, 0.54), (0.447, 0.507), (0.428, 0.507), (0.41, 0.53),
        (0.392, 0.58), (0.37, 0.582),
    )  # fmt: skip
    _line(canvas, 0.014, (0.5, 0.66), (0.61, 0.755))
    _line(canvas, 0.04, (0.415, 0.65), (0.335, 0.82))
    _line(canvas, 0.04, (0.42, 0.65), (0.455, 0.7), (0.475, 0.76), (0.485, 0.82))
    _fill(canvas, (0.518, 0.84), (0.53, 0.82), (0.6, 0.748), (0.642, 0.692), (0.658, 0.68), (0.682, 0.68), (0.702, 0.697), (0.785, 0.82), (0.793, 0.84))


def traffic_light(canvas: Canvas) -> None:
    """Paint the three lights."""
    for y, colour in ((0.42, RED), (0.583, YELLOW), (0.745, GREEN)):
        _disc(canvas, 0.5, y, 0.06, colour)


def walking(canvas: Canvas) -> None:
    """Paint a walking man."""
    _disc(canvas, 0.497, 0.37, 0.036)
    _fill(
        canvas, (0.485, 0.44), (0.51, 0.425), (0.535, 0.437), (0.59, 0.48), (0.612, 0.51), (0.612, 0.565), (0.595, 0.597), (0.578, 0.592), (0.583, 0.55),
        (0.577, 0.52), (0.55, 0.5), (0.543, 0.602), (0.47, 0.602), (0.473, 0.51), (0.415, 0.605), (0.395, 0.597), (0.455, 0.475),
    )  # fmt: skip
    _line(canvas, 0.043, (0.497, 0.638), (0.403, 0.805))
    _line(canvas, 0.043, (0.52, 0.638), (0.598, 0.795))


def children(canvas: Canvas) -> None:
    """Paint two running children."""
    _disc(canvas, 0.555, 0.463, 0.034)
    _line(canvas, 0.03, (0.455, 0.59), (0.535, 0.54), (0.61, 0.537), (0.65, 0.56), (0.672, 0.605))
    _fill(canvas, (0.535, 0.53), (0.61, 0.53), (0.607, 0.66), (0.57, 0.675), (0.542, 0.66))
    _line(canvas, 0.036, (0.562, 0.65), (0.553, 0.72), (0.528, 0.815))
    _line(canvas, 0.034, (0.588, 0.65), (0.615, 0.725), (0.64, 0.745), (0.69, 0.766))
    _disc(canvas, 0.368, 0.56, 0.03)
    _line(canvas, 0.024, (0.298, 0.68), (0.355, 0.625), (0.415, 0.622), (0.435, 0.635), (0.45, 0.668))
    _fill(canvas, (0.353, 0.62), (0.415, 0.62), (0.417, 0.72), (0.355, 0.72))
    _line(canvas, 0.028, (0.37, 0.71), (0.366, 0.8))
    _line(canvas, 0.026, (0.4, 0.705), (0.42, 0.73), (0.478, 0.733))


def bicycle(canvas: Canvas) -> None:
    """Paint a bicycle that drives to the left."""
    for x in (0.362, 0.64):
        canvas.stroke(_on_triangle((x, 0.735)) + ellipse(0, 0, 0.079, 0.079, 0, 360, steps=40), 0.016, BLACK, round_ends=True)
    _line(canvas, 0.016, (0.452, 0.518), (0.42, 0.522), (0.403, 0.545), (0.383, 0.64), (0.36, 0.74))
    _line(canvas, 0.015, (0.398, 0.588), (0.575, 0.58))
    _line(canvas, 0.018, (0.393, 0.605), (0.508, 0.743), (0.64, 0.738))
    _line(canvas, 0.015, (0.588, 0.545), (0.572, 0.585), (0.518, 0.74))
    _line(canvas, 0.015, (0.575, 0.59), (0.64, 0.735))
    _line(canvas, 0.017, (0.535, 0.538), (0.605, 0.538))


def snowflake(canvas: Canvas) -> None:
    """Paint a snowflake."""
    middle = _on_triangle((0.5, 0.64))[0]
    for angle in np.deg2rad(np.arange(30, 390, 60)):
        out = np.array([np.cos(angle), np.sin(angle)])
        fork = middle + 0.088 * out
        canvas.stroke(np.stack([middle, middle + 0.148 * out]), 0.034, BLACK, round_ends=True)
        for aside in (-0.8, 0.8):
            canvas.stroke(np.stack([fork, fork + 0.058 * np.array([np.cos(angle + aside), np.sin(angle + aside)])]), 0.034, BLACK, round_ends=True)


def deer(canvas: Canvas) -> None:
    """Paint a deer that leaps to the left."""
    _fill(
        canvas, (0.375, 0.49), (0.4, 0.475), (0.43, 0.465), (0.45, 0.45), (0.472, 0.465), (0.475, 0.48), (0.483, 0.53), (0.5, 0.57), (0.53, 0.593),
        (0.58, 0.608), (0.63, 0.627), (0.66, 0.648), (0.672, 0.665), (0.667, 0.7), (0.672, 0.722), (0.705, 0.75), (0.72, 0.78), (0.745, 0.82), (0.758, 0.845),
        (0.745, 0.852), (0.72, 0.825), (0.698, 0.79), (0.675, 0.775), (0.635, 0.758), (0.61, 0.732), (0.598, 0.7), (0.54, 0.693), (0.49, 0.68), (0.45, 0.672),
        (0.395, 0.66), (0.385, 0.652), (0.383, 0.638), (0.44, 0.643), (0.433, 0.58), (0.427, 0.505), (0.4, 0.503), (0.378, 0.498),
    )  # fmt: skip
    _line(canvas, 0.013, (0.39, 0.65), (0.408, 0.688), (0.43, 0.71), (0.455, 0.707))
    _line(canvas, 0.012, (0.455, 0.46), (0.48, 0.44), (0.515, 0.41))
    _line(canvas, 0.01, (0.452, 0.455), (0.442, 0.43))
    _line(canvas, 0.01, (0.47, 0.448), (0.478, 0.42))
