"""TensorFlow's tensor bundles (`P.index`, `P.data-SSSSS-of-NNNNN`) read without TensorFlow.

The index is a table in LevelDB's layout (tensorflow/core/lib/io/table_format.txt) that maps tensor names to
BundleEntryProto messages (tensorflow/core/protobuf/tensor_bundle.proto); the data files hold the values.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import google_crc32c
import numpy as np
import numpy.typing as npt

from sslbench.errors import BackboneError

MAGIC = 0xDB4775248B80FB57
_FOOTER = 48
# A block is followed by one byte of compression and its checksum.
_TRAILER = 5
_DTYPES = {1: "<f4", 2: "<f8", 3: "<i4", 9: "<i8"}

Parts = Callable[[str], memoryview]


@dataclass(frozen=True)
class Entry:
    """Where a tensor is: `size` bytes at `offset` of data file `shard`. dtype: TensorFlow's number."""

    dtype: int
    shape: tuple[int, ...]
    shard: int
    offset: int
    size: int
    crc: int
    sliced: bool


class TensorBundle:
    """The tensors of a bundle by name, each checked against its CRC32C when it is read.

    parts: the content of a file by the suffix behind the bundle's prefix (`.index`, `.data-00000-of-00001`). where: the
    bundle, for errors. Raises BackboneError for a damaged file and for what no published checkpoint here uses:
    compressed blocks, big-endian values, tensors in slices.
    """

    def __init__(self, parts: Parts, where: str) -> None:
        self._parts, self._where = parts, where
        self.entries: dict[str, Entry] = {}
        try:
            header = self._read_index(parts(".index"))
            self._shards = _first(header, 1, 1)
            endianness = _first(header, 2, 0)
        except (IndexError, struct.error, ValueError, TypeError) as error:
            raise self._damaged(f"its index cannot be parsed ({error})") from error
        if endianness:
            raise BackboneError(
                f"{where}: a big-endian tensor bundle, which is not supported; fetch the published file"
            )

    def read(self, name: str) -> npt.NDArray[Any]:
        """The values of a tensor, in TensorFlow's layout."""
        entry = self.entries[name]
        if entry.sliced:
            raise BackboneError(f"{self._where}: the tensor {name!r} is stored in slices, which is not supported")
        if entry.dtype not in _DTYPES:
            raise BackboneError(
                f"{self._where}: the tensor {name!r} has TensorFlow's type {entry.dtype}; known: {_DTYPES}"
            )
        dtype = np.dtype(_DTYPES[entry.dtype])
        if math.prod(entry.shape) * dtype.itemsize != entry.size:
            raise self._damaged(f"{name!r} of shape {entry.shape} has {entry.size} bytes")
        data = self._parts(f".data-{entry.shard:05d}-of-{self._shards:05d}")
        values = data[entry.offset : entry.offset + entry.size]
        if len(values) != entry.size:
            raise self._damaged(f"data file {entry.shard} of {self._shards} ends before {name!r}")
        if _masked_crc(values) != entry.crc:
            raise self._damaged(f"the checksum of {name!r} does not match")
        return np.frombuffer(values, dtype).reshape(entry.shape)

    def _read_index(self, table: memoryview) -> dict[int, list[Any]]:
        footer = bytes(table[-_FOOTER:])
        if len(footer) != _FOOTER or struct.unpack("<Q", footer[-8:])[0] != MAGIC:
            raise self._damaged("its index does not end as one does")
        handles = _Cursor(footer)
        # Bundles leave the meta-index empty.
        _meta_index, index = _handle(handles), _handle(handles)
        header: dict[int, list[Any]] = {}
        for _, value in self._entries(table, *index):
            for key, message in self._entries(table, *_handle(_Cursor(value))):
                if key:
                    self.entries[key.decode()] = _entry(message)
                else:
                    header = _fields(message)
        if not header:
            raise self._damaged("its index has no header")
        return header

    def _entries(self, table: memoryview, offset: int, size: int) -> Iterator[tuple[bytes, bytes]]:
        block = bytes(table[offset : offset + size + _TRAILER])
        if len(block) != size + _TRAILER:
            raise self._damaged("its index is cut short")
        if _masked_crc(block[: size + 1]) != struct.unpack("<I", block[size + 1 :])[0]:
            raise self._damaged("the checksum of a block of its index does not match")
        if block[size]:
            raise BackboneError(
                f"{self._where}: its index is compressed (type {block[size]}), which is not supported; TensorFlow writes "
                "bundles uncompressed"
            )
        restarts = struct.unpack_from("<I", block, size - 4)[0]
        cursor, end, key = _Cursor(block), size - 4 - 4 * restarts, b""
        while cursor.position < end:
            shared, rest, length = cursor.varint(), cursor.varint(), cursor.varint()
            key = key[:shared] + cursor.take(rest)
            yield key, cursor.take(length)

    def _damaged(self, what: str) -> BackboneError:
        return BackboneError(f"{self._where}: damaged tensor bundle: {what}; fetch it again")


class _Cursor:
    """Reads forward through bytes; IndexError at the end."""

    def __init__(self, data: bytes) -> None:
        self.data, self.position = data, 0

    def take(self, count: int) -> bytes:
        if self.position + count > len(self.data):
            raise IndexError("cut short")
        self.position += count
        return self.data[self.position - count : self.position]

    def varint(self) -> int:
        value = 0
        for shift in range(0, 70, 7):
            (byte,) = self.take(1)
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
        raise ValueError("varint of more than ten bytes")


def _handle(cursor: _Cursor) -> tuple[int, int]:
    """Offset and size of a block."""
    return cursor.varint(), cursor.varint()


def _fields(message: bytes) -> dict[int, list[Any]]:
    """The fields of a protocol buffer by number: int for varints and fixed32, bytes for the rest."""
    cursor = _Cursor(message)
    fields: dict[int, list[Any]] = {}
    while cursor.position < len(message):
        tag = cursor.varint()
        kind = tag & 7
        if kind == 0:
            value: Any = cursor.varint()
        elif kind == 2:
            value = cursor.take(cursor.varint())
        elif kind == 5:
            value = struct.unpack("<I", cursor.take(4))[0]
        elif kind == 1:
            value = cursor.take(8)
        else:
            raise ValueError(f"wire type {kind}")
        fields.setdefault(tag >> 3, []).append(value)
    return fields


def _first(fields: dict[int, list[Any]], number: int, default: int) -> int:
    # Protocol buffers leave out fields that are zero.
    return int(fields.get(number, [default])[-1])


def _entry(message: bytes) -> Entry:
    fields = _fields(message)
    shape = _fields(fields.get(2, [b""])[-1])
    return Entry(
        dtype=_first(fields, 1, 0),
        shape=tuple(_first(_fields(dimension), 1, 0) for dimension in shape.get(2, [])),
        shard=_first(fields, 3, 0),
        offset=_first(fields, 4, 0),
        size=_first(fields, 5, 0),
        crc=_first(fields, 6, 0),
        sliced=7 in fields,
    )


def _masked_crc(data: bytes | memoryview) -> int:
    # LevelDB rotates and shifts checksums, so that a checksum over data with checksums stays meaningful.
    crc: int = google_crc32c.value(bytes(data))
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
