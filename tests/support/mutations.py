"""Inputs for the tests that seek faults: bytes that once were right, with a few of them changed, cut or doubled."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import strategies as st

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
JSON = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4))


@contextmanager
def refused_in_one_line(*errors: type[Exception]) -> Iterator[None]:
    """Let the block be refused as one of these errors, in one line, and as no other."""
    try:
        yield
    except errors as refusal:
        if "\n" in str(refusal):
            pytest.fail(f"more than one line: {refusal}")


@st.composite
def mutated(draw: st.DrawFn, *corpus: bytes) -> bytes:
    """One of a corpus with up to eight changes, most of them where headers stand."""
    content = bytearray(draw(st.sampled_from(corpus)))
    for _ in range(draw(st.integers(0, 8))):
        at = draw(st.integers(0, min(len(content), 64)) | st.integers(0, len(content)))
        change = draw(st.sampled_from(("set", "insert", "cut", "end")))
        if change == "set":
            new = draw(st.binary(min_size=1, max_size=8) | st.sampled_from([b"\xff" * 4, b"\x00" * 4, b"\x7f\xff\xff\xff"]))
            content[at : at + len(new)] = new
        elif change == "insert":
            content[at:at] = draw(st.binary(max_size=16))
        elif change == "cut":
            del content[at : at + draw(st.integers(1, 64))]
        else:
            del content[at:]
    return bytes(content)


@st.composite
def changed_json(draw: st.DrawFn, document: Any) -> Any:
    """A document with one of its values, at any depth, replaced, taken away or added."""
    if isinstance(document, dict) and document and draw(st.integers(0, 3)):
        key = draw(st.sampled_from(sorted(document)))
        kind = draw(st.integers(0, 5))
        if kind == 0:
            return {name: value for name, value in document.items() if name != key}
        if kind == 1:
            return {**document, draw(st.text(max_size=8)): draw(JSON)}
        return {**document, key: draw(changed_json(document[key]))}
    if isinstance(document, list) and document and draw(st.integers(0, 3)):
        at = draw(st.integers(0, len(document) - 1))
        return [*document[:at], draw(changed_json(document[at])), *document[at + 1 :]]
    return draw(JSON)
