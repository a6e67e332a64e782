"""Synthetic checkpoints: every tensor has values of its own, so that two that are swapped cannot pass."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
import pytest
import torch
from torch import Tensor

from sslbench.backbones.checkpoints import resnet50

State = dict[str, Tensor]
WIDTH = 4


def distinct(shape: tuple[int, ...], number: int) -> Tensor:
    """Values that no other number has, none of them equal to its neighbour: a wrong transpose shows."""
    size = int(np.prod(shape))
    return (torch.arange(size) % 4093 + 4096 * number).float().reshape(shape)


def make_state() -> State:
    state = {}
    for number, (name, shape) in enumerate(resnet50.tensor_shapes().items()):
        state[name] = torch.tensor(number) if name.endswith(resnet50.COUNTER) else distinct(shape, number)
    return state


@pytest.fixture
def state(monkeypatch: pytest.MonkeyPatch) -> State:
    """A ResNet-50 that is narrow, so that its files are small."""
    monkeypatch.setattr(resnet50, "WIDTH", WIDTH)
    return make_state()


@pytest.fixture(scope="session")
def full_state() -> State:
    """A ResNet-50 of full size that computes something: small random weights, positive variances."""
    generator = torch.Generator().manual_seed(3)
    state = {}
    for name, shape in resnet50.tensor_shapes().items():
        if name.endswith(resnet50.COUNTER):
            state[name] = torch.tensor(5)
        elif len(shape) == 4:
            state[name] = torch.randn(shape, generator=generator) / (shape[1] * shape[2] * shape[3]) ** 0.5
        else:
            state[name] = torch.rand(shape, generator=generator) + 0.5
    return state


@pytest.fixture
def scratch(tmp_path: Path) -> Iterator[Path]:
    """A directory for large files, emptied at once instead of kept by pytest."""
    yield tmp_path
    for path in tmp_path.rglob("*"):
        if path.is_file():
            path.unlink()


def assert_equal(got: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    assert got.keys() == expected.keys()
    for name, tensor in expected.items():
        assert got[name].dtype == tensor.dtype, name
        assert torch.equal(got[name], tensor), name


@pytest.fixture
def same() -> Callable[[Mapping[str, Tensor], Mapping[str, Tensor]], None]:
    return assert_equal


def without_counters(state: State) -> State:
    return {name: tensor for name, tensor in state.items() if not name.endswith(resnet50.COUNTER)}


def zero_counters(state: State) -> State:
    """What a file without counters must become."""
    return {n: torch.tensor(0) if n.endswith(resnet50.COUNTER) else tensor for n, tensor in state.items()}


# TensorFlow's layout ---------------------------------------------------------------------------------------------


def varint(value: int) -> bytes:
    out = b""
    while value > 0x7F:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def field(number: int, kind: int, payload: bytes) -> bytes:
    return varint(number << 3 | kind) + payload


def message(number: int, payload: bytes) -> bytes:
    return field(number, 2, varint(len(payload)) + payload)


def masked(data: bytes) -> bytes:
    crc = google_crc32c.value(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17 & 0xFFFFFFFF) + 0xA282EAD8) % 2**32)


def block(items: list[tuple[bytes, bytes]], restart: int, compression: int = 0) -> bytes:
    body, restarts, last = b"", [], b""
    for index, (key, value) in enumerate(items):
        shared = 0
        if index % restart:
            while shared < min(len(key), len(last)) and key[shared] == last[shared]:
                shared += 1
        else:
            restarts.append(len(body))
        body += varint(shared) + varint(len(key) - shared) + varint(len(value)) + key[shared:] + value
        last = key
    body += struct.pack(f"<{len(restarts)}I", *restarts) + struct.pack("<I", len(restarts)) + bytes([compression])
    return body + masked(body)


DTYPES = {"float32": 1, "float64": 2, "int32": 3, "int64": 9, "uint8": 4}


def write_bundle(
    prefix: Path,
    tensors: Mapping[str, np.ndarray],
    *,
    shards: int = 1,
    per_block: int = 10**6,
    restart: int = 16,
    endianness: int = 0,
    compression: int = 0,
    sliced: tuple[str, ...] = (),
) -> None:
    """A tensor bundle after TensorFlow's format documents."""
    header = field(1, 0, varint(shards)) + message(3, field(1, 0, varint(1)))
    if endianness:
        header += field(2, 0, varint(endianness))
    items = [(b"", header)]
    data = [b""] * shards
    for index, name in enumerate(sorted(tensors)):
        array, shard = np.asarray(tensors[name]), index % shards
        raw = array.tobytes()
        shape = b"".join(message(2, field(1, 0, varint(size))) for size in array.shape)
        entry = field(1, 0, varint(DTYPES[array.dtype.name])) + message(2, shape)
        for number, value in ((3, shard), (4, len(data[shard])), (5, len(raw))):
            entry += field(number, 0, varint(value)) if value else b""
        entry += field(6, 5, masked(raw))
        if name in sliced:
            entry += message(7, b"")
        items.append((name.encode(), entry))
        data[shard] += raw
    table, index_items = b"", []
    for start in range(0, len(items), per_block):
        part = items[start : start + per_block]
        raw = block(part, restart, compression)
        # Index keys lie at or behind the last key of their block.
        index_items.append((part[-1][0] + b"~", varint(len(table)) + varint(len(raw) - 5)))
        table += raw
    meta, index = block([], restart), block(index_items, 1)
    footer = varint(len(table)) + varint(len(meta) - 5)
    footer += varint(len(table) + len(meta)) + varint(len(index) - 5)
    table += meta + index + footer.ljust(40, b"\0") + struct.pack("<Q", 0xDB4775248B80FB57)
    prefix.parent.mkdir(parents=True, exist_ok=True)
    prefix.with_name(f"{prefix.name}.index").write_bytes(table)
    for number, content in enumerate(data):
        prefix.with_name(f"{prefix.name}.data-{number:05d}-of-{shards:05d}").write_bytes(content)


@pytest.fixture
def bundle() -> Callable[..., None]:
    return write_bundle


@pytest.fixture
def counters() -> tuple[Callable[[State], State], Callable[[State], State]]:
    """How to take the counters out of a state, and what must come back for them."""
    return without_counters, zero_counters


@pytest.fixture
def full_torch_file(full_state: State, scratch: Path) -> Callable[[str, str], Path]:
    """A full-size flat torch file with a prefix."""

    def write(name: str, prefix: str, **extra: Any) -> Path:
        torch.save({**{f"{prefix}{key}": value for key, value in full_state.items()}, **extra}, scratch / name)
        return scratch / name

    return write
