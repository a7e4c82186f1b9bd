"""The digits and letters on traffic signs, in the manner of DIN 1451: each is a few lines in a unit square."""

from __future__ import annotations

import numpy as np

from edge.drawn.canvas import Canvas, Colour, Layer, Points, ellipse, path_of

_STEM = path_of((0.5, 0.0), (0.5, 1.0))
_ZERO = np.concatenate([ellipse(0.5, 0.3, 0.5, 0.3, 180, 360), ellipse(0.5, 0.7, 0.5, 0.3, 0, 180), path_of((0, 0.3), (0, 0.25))])
_GLYPHS: dict[str, list[Points]] = {
    "0": [_ZERO],
    "1": [path_of((0.72, -0.09), (0.72, 1.09)), path_of((0.05, 0.27), (0.72, -0.03))],
    "2": [np.concatenate([ellipse(0.48, 0.27, 0.48, 0.27, 188, 390), path_of((0.06, 0.98))]), path_of((-0.08, 1.0), (1.05, 1.0))],
    "3": [ellipse(0.46, 0.25, 0.46, 0.25, 195, 450), ellipse(0.47, 0.74, 0.53, 0.26, 270, 525)],
    "5": [path_of((0.07, 0.0), (0.97, 0.0)), path_of((0.17, -0.02), (0.12, 0.52)), ellipse(0.46, 0.68, 0.54, 0.32, 218, 522)],
    "6": [ellipse(0.5, 0.69, 0.5, 0.31, 0, 370), path_of((0.72, -0.07), (0.22, 0.38), (0.03, 0.6))],
    "7": [path_of((-0.05, 0.0), (1.08, 0.0)), path_of((1.0, 0.0), (0.36, 1.08))],
    "8": [ellipse(0.5, 0.24, 0.42, 0.24, 0, 370), ellipse(0.5, 0.74, 0.5, 0.26, 0, 370)],
    "S": [np.concatenate([ellipse(0.5, 0.25, 0.5, 0.25, 330, 90), ellipse(0.5, 0.75, 0.5, 0.25, 270, 510)])],
    "T": [path_of((-0.15, 0.0), (1.15, 0.0)), _STEM + path_of((0.0, 0.09))],
    "O": [_ZERO],
    "P": [path_of((0.0, -0.1), (0.0, 1.1)), np.concatenate([path_of((0.0, 0.0)), ellipse(0.5, 0.28, 0.5, 0.28, 270, 450), path_of((0.0, 0.56))])],
}


def text_layer(text: str, *, height: float, glyph: float, gap: float, stroke: float, colour: Colour) -> Layer:
    """Return centred text in the manner of DIN 1451: glyphs of width `glyph`, `gap` apart, with lines of width `stroke`."""

    def paint(canvas: Canvas) -> None:
        left = 0.5 - (len(text) * glyph + (len(text) - 1) * gap) / 2
        for place, letter in enumerate(text):
            corner = np.array([left + place * (glyph + gap) + stroke / 2, 0.5 - height / 2 + stroke / 2])
            for path in _GLYPHS[letter]:
                canvas.stroke(corner + path * np.array([glyph - stroke, height - stroke]), stroke, colour)

    return paint
