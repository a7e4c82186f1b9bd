"""An fp16 ONNX model as the same graph in float32, its weights widened exactly.

CPUs compute float32 and emulate float16, and every fp16 number is a float32 number, so the bundle's fp16 file holds the fp32 model too. The board has no `onnx`
package, so this rewrites the protobuf wire format: a message is a run of fields, each a key (number << 3 | kind) and a value, and what is not named below is
copied byte for byte. Field numbers and types are those of onnx.proto, https://github.com/onnx/onnx/blob/main/onnx/onnx.proto.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge.errors import EngineError

FLOAT, FLOAT16 = 1, 10
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_FIXED_SIZES = {_FIXED64: 8, _FIXED32: 4}
_VARINT_BYTES = 10
_EXTERNAL = 1
_MOST_FIELDS = 100_000
_SIZED_BY_A_NUMBER = frozenset((b"ConstantOfShape", b"Expand", b"EyeLike", b"OneHot", b"RandomNormal", b"RandomUniform", b"Range", b"Tile"))
"""Operators that make much of a few bytes."""


class _Field(NamedTuple):
    """A field of a message: `value` is an int, the bytes inside, or None for a number of fixed size; `whole` has the key and the length too."""

    number: int
    value: int | memoryview | None
    whole: memoryview


def widen(model: bytes) -> bytes:
    """Return a serialized fp16 ONNX model in float32.

    Widened are initializers, tensors in attributes, the target of Cast nodes, and the types of inputs, outputs and values in between; subgraphs are not.

    Raises:
        EngineError: the bytes are no protobuf message, or a tensor is not whole or lies in another file.
    """
    return _rewritten(memoryview(model), {7: _graph})


def check_plain(model: bytes | memoryview) -> None:
    """Refuse what the networks of a bundle do not have, before a library takes time or memory for it.

    That are loops and branches, weights in other files, and operators that make a tensor of whatever size a number tells.

    Raises:
        EngineError: the bytes are no protobuf message, or there is such a thing.
    """
    for field in _fields(memoryview(model)):
        if field.number == 25:  # a function is a graph that nodes call
            raise _not_plain("functions")
        if field.number == 7 and isinstance(field.value, memoryview):
            _check_graph(field.value)


def _check_graph(graph: memoryview) -> None:
    for field in _fields(graph):
        if not isinstance(field.value, memoryview):
            continue
        if field.number == 1:
            for held in _fields(field.value):
                if held.number == 4 and isinstance(held.value, memoryview) and bytes(held.value) in _SIZED_BY_A_NUMBER:
                    raise _not_plain(f"{bytes(held.value).decode()}, of any size that a number tells,")
                if held.number == 5 and isinstance(held.value, memoryview):
                    _check_attribute(held.value)
        elif field.number == 5:
            _check_tensor(field.value)


def _check_attribute(attribute: memoryview) -> None:
    for field in _fields(attribute):
        if field.number in (6, 11):
            raise _not_plain("a graph within a node, a loop or a branch,")
        if field.number in (5, 10) and isinstance(field.value, memoryview):
            _check_tensor(field.value)


def _check_tensor(tensor: memoryview) -> None:
    for place, field in enumerate(_fields(tensor)):
        if field.number == 13 or (field.number == 14 and field.value == _EXTERNAL):
            raise _not_plain("a tensor in another file")
        if place == _MOST_FIELDS:
            raise _not_plain(f"a tensor in more than {_MOST_FIELDS} pieces")


def _not_plain(found: str) -> EngineError:
    return EngineError(f"wanted a network that is whole in its ONNX file and runs straight through, found {found} in it: export the bundle again")


def _graph(graph: memoryview) -> bytes:
    return _rewritten(graph, {1: _node, 5: _tensor, 11: _value_info, 12: _value_info, 13: _value_info})


def _node(node: memoryview) -> bytes:
    return _rewritten(node, {5: _cast_attribute if _says(node, 4, b"Cast") else _attribute})


def _attribute(attribute: memoryview) -> bytes:
    return _rewritten(attribute, {5: _tensor})


def _cast_attribute(attribute: memoryview) -> bytes:
    return _retyped(attribute, 3) if _says(attribute, 1, b"to") else bytes(attribute)


def _value_info(value_info: memoryview) -> bytes:
    return _rewritten(value_info, {2: lambda kind: _rewritten(kind, {1: lambda tensor_type: _retyped(tensor_type, 1)})})


def _tensor(tensor: memoryview) -> bytes:
    fields = list(_fields(tensor))
    last = {field.number: field.value for field in fields}  # of a repeated plain field the last counts
    if last.get(2) != FLOAT16:
        return bytes(tensor)
    if last.get(14) == _EXTERNAL:
        raise EngineError("wanted weights inside the ONNX file, found a tensor that lies in another file: export the bundle again")
    others = b"".join(field.whole for field in fields if field.number not in (2, 5, 9))
    return others + encoded(2, FLOAT) + encoded(9, _halves(fields).astype("<f4").tobytes())


def _halves(fields: list[_Field]) -> NDArray[np.float16]:
    """Gather a tensor's fp16 numbers, which are raw little-endian bytes or, one each, the low 16 bits of int32_data."""
    raw = b"".join(field.value for field in fields if field.number == 9 and isinstance(field.value, memoryview))
    if len(raw) % 2:
        raise _malformed(f"{len(raw)} bytes of fp16 numbers")
    bits: list[int] = []
    for field in fields:
        if field.number == 5 and field.value is not None:
            bits += [field.value] if isinstance(field.value, int) else _packed(field.value)
    if bits and max(bits) > np.iinfo(np.uint16).max:
        raise _malformed("an fp16 number of more than 16 bits")
    return np.concatenate([np.frombuffer(raw, "<f2"), np.array(bits, np.uint16).view(np.float16)])


def _says(message: memoryview, number: int, text: bytes) -> bool:
    return any(field.number == number and isinstance(field.value, memoryview) and bytes(field.value) == text for field in _fields(message))


def _rewritten(message: memoryview, changes: dict[int, Callable[[memoryview], bytes]]) -> bytes:
    """Copy a message, passing the submessages whose field number is in `changes` through the function there."""
    pieces: list[bytes | memoryview] = []
    for field in _fields(message):
        change = changes.get(field.number)
        pieces.append(encoded(field.number, change(field.value)) if change and isinstance(field.value, memoryview) else field.whole)
    return b"".join(pieces)


def _retyped(message: memoryview, number: int) -> bytes:
    """Copy a message, with FLOAT for FLOAT16 in the field `number`."""
    return b"".join(encoded(number, FLOAT) if field.number == number and field.value == FLOAT16 else field.whole for field in _fields(message))


def _fields(message: memoryview) -> Iterator[_Field]:
    at = 0
    while at < len(message):
        start = at
        key, at = _varint(message, at)
        number, kind = key >> 3, key & 7
        value: int | memoryview | None
        if kind == _VARINT:
            value, at = _varint(message, at)
        elif kind == _BYTES:
            size, at = _varint(message, at)
            value, at = message[at : at + size], at + size
        elif kind in _FIXED_SIZES:
            value, at = None, at + _FIXED_SIZES[kind]
        else:
            raise _malformed(f"a field of kind {kind}")
        if number == 0 or at > len(message):
            raise _malformed(f"field {number} at byte {start}, which is not whole")
        yield _Field(number, value, message[start:at])


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    """Read a number of 7 bits a byte, the lowest first, every byte but the last with its top bit set; returns it and where it ends."""
    value = 0
    for place, byte in enumerate(message[at : at + _VARINT_BYTES]):
        value |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:
            return value, at + place + 1
    raise _malformed("a number that does not end")


def _packed(values: memoryview) -> list[int]:
    numbers, at = [], 0
    while at < len(values):
        value, at = _varint(values, at)
        numbers.append(value)
    return numbers


def encoded(number: int, value: int | bytes) -> bytes:
    """Return a field of a protobuf message: an integer, or bytes, text or a message inside."""
    if isinstance(value, int):
        return _encoded_varint(number << 3 | _VARINT) + _encoded_varint(value)
    return _encoded_varint(number << 3 | _BYTES) + _encoded_varint(len(value)) + value


def _encoded_varint(value: int) -> bytes:
    encoded = bytearray()
    while value >= 0x80:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*encoded, value])


def _malformed(found: str) -> EngineError:
    return EngineError(f"wanted an ONNX model, found {found}: the file is damaged, copy the bundle again")
