"""Which photos and frames are trained on, chosen by and judged by: as folders tell, else by whole groups (`train.own.groups`)."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable
from dataclasses import replace

from train.own.found import Looked, Photo, Side
from train.own.groups import dealt, stem_of, telling, together

VALID_SHARE, TUNING_SHARE, HELD_SHARE = 0.2, 0.15, 0.2
_NEIGHBOURS, _FILM_FRAMES = 10, 30
"""Frames whose names count up are taken for a film from so many on, of which so many neighbours stand together."""
_DRAWS = 32
"""Splits of the frames that are tried: that is kept which shows the most classes on the most sides."""
_SIDES: tuple[Side, ...] = ("train", "valid", "test")


def split_frames(looked: Looked, alike: int, seed: int) -> None:
    """Give every frame a side: "train", "valid" (to choose by) or "test" (held out)."""
    if not looked.frames:
        return
    stems = [stem_of(scene.path.stem) for scene, _ in looked.frames]
    films = Counter((scene.path.parent, film) for (scene, _), (photo, film) in zip(looked.frames, stems, strict=True) if film != photo)
    keys: list[list[Hashable]] = []
    for (scene, _), (photo, film) in zip(looked.frames, stems, strict=True):
        some: list[Hashable] = [(scene.path.parent, photo)]
        if films[scene.path.parent, film] >= _FILM_FRAMES:
            number = int("".join(letter for letter in photo[len(film) :] if letter.isdecimal()) or 0)
            some.append((scene.path.parent, film, number // _NEIGHBOURS))
        keys.append(some)
    groups = together(keys, looked.hashes, alike)
    told = [scene.side for scene, _ in looked.frames]
    shares: dict[Side, float] = {"valid": TUNING_SHARE, "test": HELD_SHARE}
    lacking = [side for side in shares if side not in told]
    # What is told to be trained on lends what the layout lacks to choose and to judge by.
    open_places = [place for place, side in enumerate(told) if side is None or (side == "train" and lacking)]
    called: list[Side] = ["train", *lacking]
    draws = []
    for draw in range(_DRAWS):
        sides = dealt([groups[place] for place in open_places], [shares[side] for side in lacking], f"{seed}:frames:{draw}")
        drawn = dict(zip(open_places, (called[side] for side in sides), strict=True))
        draws.append([drawn.get(place, side) for place, side in enumerate(told)])
    best = max(draws, key=lambda sides: len({(name, side) for (scene, _), side in zip(looked.frames, sides, strict=True) for name in scene.names}))
    looked.frames = [(replace(scene, side=side), boxes) for (scene, boxes), side in zip(looked.frames, best, strict=True)]


def split_photos(looked: Looked, alike: int, seed: int) -> None:
    """Give every photo a side, class by class; those that were cut from frames have their frame's."""
    by_class: dict[str, list[Photo]] = defaultdict(list)
    for photo in looked.photos:
        by_class[photo.name].append(photo)
    looser = []
    for name, photos in sorted(by_class.items()):
        given = [photo for photo in photos if photo.box is None] or photos
        held = any(photo.side == "valid" for photo in given)
        free = [photo for photo in given if photo.side is None or (photo.side == "train" and not held)]
        groups, sure = _groups(free, alike)
        if not sure and len(free) > 1:
            looser.append(name)
        sides = dealt(groups, [] if held else [VALID_SHARE], f"{seed}:{name}")
        for photo, side in zip(free, sides, strict=True):
            photo.side = _SIDES[side]
    if looser:
        told = ", ".join(looser[:5]) + (" and others" if len(looser) > 5 else "")
        looked.doubts.append(f"all photos look alike or bear one name, so that near duplicates may stand on both sides, of {told}: add photos of other signs")


def _groups(photos: list[Photo], alike: int) -> tuple[list[int], bool]:
    """Group photos of a class, as strictly as leaves several groups; tells whether that is as strict as was asked for."""
    films = [stem_of(photo.stem)[1] for photo in photos]
    keys: list[list[Hashable]] = [[("photo", photo.folder, photo.stem)] for photo in photos]
    for place, photo in enumerate(photos):
        if photo.folder:
            keys[place].append(("folder", photo.folder))
        if telling(films):
            keys[place].append(("film", films[place]))
    hashes = [photo.hash for photo in photos]
    for bits in range(alike, -2, -1):
        groups = together(keys, hashes, bits)
        largest = max(Counter(groups).values(), default=0)
        if 2 * largest <= len(photos):
            return groups, bits == alike
    return list(range(len(photos))), False
