"""What is sent to a device during a step does not wait there."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from sslbench.training import crops
from sslbench.training.transfer import sent
from tests import waiting


def test_a_gpu_is_sent_pinned_memory_without_waiting() -> None:
    calls: list[Any] = []
    pinned = SimpleNamespace(to=lambda place, **how: calls.append((place, how)) or "there")
    assert sent(SimpleNamespace(pin_memory=lambda: pinned), torch.device("cuda", 1)) == "there"  # type: ignore[arg-type]
    assert calls == [(torch.device("cuda", 1), {"non_blocking": True})]


def test_the_cpu_gets_the_tensor_itself() -> None:
    tensor = torch.arange(3)
    assert sent(tensor, torch.device("cpu")) is tensor


def test_who_looks_would_be_told() -> None:
    there = torch.zeros(3, device="meta")
    with waiting.Waits() as waits:
        torch.tensor([1], device="meta")
        torch.arange(3).to(waiting.META)
        there[[0, 1]] = 1
        torch.repeat_interleave(there, 2)
        with pytest.raises(RuntimeError):
            float(there[0])
        # None of these waits.
        torch.tensor([1]), torch.arange(3)[[0, 1]], there[0:2], waiting.sent(torch.arange(3), waiting.META)
    assert waits.found == ["tensor", "to", "__setitem__", "repeat_interleave", "__float__"]


@pytest.mark.parametrize("bgr", [False, True])
def test_crops_wait_for_nothing(bgr: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crops, "sent", waiting.sent)
    pictures = [torch.zeros(3, 20 + number, 30, dtype=torch.uint8, device="meta") for number in range(3)]
    boxes = torch.tensor([[0, 0, 10, 10], [2, 3, 16, 20], [1, 1, 9, 9]])
    size: dict[str, Any] = {"mean": (0.5,) * 3, "std": (0.25,) * 3, "bgr": bgr}
    crops.resized_crops(pictures, boxes, torch.tensor([True, False, True]), (8, 8), **size)
    with waiting.Waits() as waits:
        found = crops.resized_crops(pictures, boxes, torch.tensor([True, False, True]), (8, 8), **size)
    assert found.device.type == "meta" and found.shape == (3, 3, 8, 8)
    assert waits.found == []
