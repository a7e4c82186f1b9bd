"""So many photos of one class: spread over its tracks, and along each from far to near."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence

from edge.datasets.gtsrb_layouts import Photo

Tracks = Mapping[str, Sequence[Photo]]


def divide(tracks: Tracks, train: int, valid: int, chance: random.Random) -> tuple[Tracks, Tracks] | None:
    """Deal tracks out to (train, valid), as near to the proportion of the photos wanted as gives each side enough; None where nothing does."""
    order = chance.sample(sorted(tracks), len(tracks))
    ideal = len(order) * valid / (train + valid)
    for count in sorted(range(1, len(order)), key=lambda count: abs(count - ideal)):
        kept, held = ({name: tracks[name] for name in names} for names in (order[count:], order[:count]))
        if photos_in(kept) >= train and photos_in(held) >= valid:
            return kept, held
    return None


def pick(tracks: Tracks, count: int, chance: random.Random) -> list[Photo]:
    """Pick `count` photos, which the tracks must hold: from as many tracks as can be, equally many of each, at places that are even over the approach.

    A track's places are those of an even step, each track with another start, so that single photos of many tracks are even over near and far too.
    """
    order = chance.sample(sorted(tracks), len(tracks))
    turns = [name for turn in range(max(map(len, tracks.values()))) for name in order if turn < len(tracks[name])]
    quotas = sorted(Counter(turns[:count]).items())
    picked: list[Photo] = []
    for (name, quota), start in zip(quotas, chance.sample(range(len(quotas)), len(quotas)), strict=True):
        frames = sorted(tracks[name], key=lambda photo: photo.path.name)
        step = len(frames) / quota
        picked += [frames[int((place + (start + 0.5) / len(quotas)) * step)] for place in range(quota)]
    return picked


def photos_in(tracks: Tracks) -> int:
    """Count the photos of all tracks."""
    return sum(map(len, tracks.values()))
