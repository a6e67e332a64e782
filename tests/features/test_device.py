"""Devices are tried, not trusted."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from sslbench.errors import DeviceError
from sslbench.features.device import resolve_device


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    resolve_device.cache_clear()
    yield
    resolve_device.cache_clear()


def usable_cuda() -> bool:
    try:
        torch.zeros(1, device="cuda")
    except (RuntimeError, AssertionError):
        return False
    return True


def fake_zeros(usable: set[str], tried: list[str]) -> object:
    def zeros(_: int, device: str) -> None:
        tried.append(device)
        if device not in usable:
            raise RuntimeError(f"no {device}\nsecond line")

    return zeros


def test_cpu_is_taken_as_it_is() -> None:
    assert resolve_device("cpu") == "cpu"


@pytest.mark.parametrize("device", ["tpu", "", "CPU", "mps"])
def test_an_unknown_device_is_refused(device: str) -> None:
    with pytest.raises(DeviceError, match=r"unknown device .*expected auto, cpu, cuda or cuda:N"):
        resolve_device(device)


@pytest.mark.skipif(usable_cuda(), reason="this machine has a usable CUDA device")
@pytest.mark.parametrize("device", ["cuda", "cuda:0"])
def test_cuda_without_a_gpu_is_refused(device: str) -> None:
    with pytest.raises(DeviceError, match=rf"device {device} was asked for but cannot be used.*--sslbench-device cpu"):
        resolve_device(device)


@pytest.mark.skipif(usable_cuda(), reason="this machine has a usable CUDA device")
def test_auto_without_a_gpu_is_the_cpu() -> None:
    assert resolve_device("auto") == "cpu"


def test_a_named_gpu_that_is_absent_is_refused_with_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "zeros", fake_zeros({"cuda:0"}, []))
    with pytest.raises(DeviceError, match="no cuda:7") as raised:
        resolve_device("cuda:7")
    assert "second line" not in str(raised.value)


@pytest.mark.parametrize(
    ("worker", "expected"),
    [(None, "cuda:0"), ("gw0", "cuda:0"), ("gw1", "cuda:1"), ("gw5", "cuda:1"), ("master", "cuda:0")],
)
@pytest.mark.parametrize("device", ["auto", "cuda"])
def test_workers_share_the_visible_gpus(
    device: str, worker: str | None, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch, "zeros", fake_zeros({"cuda:0", "cuda:1"}, []))
    if worker is None:
        monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
    else:
        monkeypatch.setenv("PYTEST_XDIST_WORKER", worker)
    assert resolve_device(device) == expected


def test_a_named_gpu_is_taken_whatever_the_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    tried: list[str] = []
    monkeypatch.setattr(torch, "zeros", fake_zeros({"cuda:0", "cuda:1"}, tried))
    monkeypatch.setenv("PYTEST_XDIST_WORKER", "gw1")
    assert resolve_device("cuda:0") == "cuda:0"
    assert tried == ["cuda:0"]
