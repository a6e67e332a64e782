"""SAME padding: against TensorFlow's own numbers, and a ResNet written out with explicit padding."""

from __future__ import annotations

import pytest
import timm
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sslbench.backbones.checkpoints.same_padding import use_same_padding


def strided(kernel: int) -> nn.Module:
    """A convolution whose weights count from 1."""
    module = nn.Sequential(nn.Conv2d(1, 1, kernel, stride=2, padding=kernel // 2, bias=False))
    with torch.no_grad():
        module[0].weight.copy_(torch.arange(1.0, kernel**2 + 1).reshape(1, 1, kernel, kernel))
    return module


# tf.nn.conv2d and tf.nn.max_pool2d (TensorFlow 2.21) with strides 2 and "SAME" on the numbers 1 to 30, 6 by 5.
@pytest.mark.parametrize(
    ("module", "sign", "expected"),
    [
        (strided(3), 1, [[276, 456, 318], [606, 906, 588], [400, 562, 340]]),
        (strided(7), 1, [[9800, 12200, 9660], [10760, 13120, 10160], [5840, 6860, 5088]]),
        # Negative, so that padding with zeros would show.
        (nn.Sequential(nn.MaxPool2d(3, 2, 1)), -1, [[-1, -2, -4], [-11, -12, -14], [-21, -22, -24]]),
    ],
)
def test_tensorflows_numbers(module: nn.Module, sign: int, expected: list[list[float]]) -> None:
    pictures = sign * torch.arange(1.0, 31).reshape(1, 1, 6, 5)
    before = module(pictures)[0, 0].tolist()
    use_same_padding(module, "all")
    assert module(pictures)[0, 0].tolist() == expected != before


def pad(images: Tensor, kernel: int, stride: int, value: float = 0.0) -> Tensor:
    """What SAME adds: as much as gives ceil(size / stride) outputs, the odd pixel at the end."""
    sides: list[int] = []
    for size in (images.shape[-1], images.shape[-2]):
        total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
        sides += [total // 2, total - total // 2]
    return F.pad(images, sides, value=value)


def written_out(network: nn.Module, images: Tensor, extent: str) -> Tensor:
    """A ResNet-50 by hand."""
    state = dict(network.state_dict())

    def convolve(x: Tensor, name: str, stride: int = 1) -> Tensor:
        weight = state[f"{name}.weight"]
        kernel = weight.shape[-1]
        if extent == "all":
            return F.conv2d(pad(x, kernel, stride), weight, stride=stride)
        return F.conv2d(x, weight, stride=stride, padding=kernel // 2)

    def norm(x: Tensor, name: str) -> Tensor:
        mean, var, weight, bias = (
            state[f"{name}.{what}"][:, None, None] for what in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) / (var + 1e-5).sqrt() * weight + bias

    x = norm(convolve(images, "conv1", 2), "bn1").relu()
    x = F.max_pool2d(pad(x, 3, 2, -torch.inf), 3, 2)
    for group, blocks in enumerate((3, 4, 6, 3), 1):
        for block in range(blocks):
            name, stride = f"layer{group}.{block}", 2 if group > 1 and block == 0 else 1
            y = norm(convolve(x, f"{name}.conv1"), f"{name}.bn1").relu()
            y = norm(convolve(y, f"{name}.conv2", stride), f"{name}.bn2").relu()
            y = norm(convolve(y, f"{name}.conv3"), f"{name}.bn3")
            if block == 0:
                x = norm(convolve(x, f"{name}.downsample.0", stride), f"{name}.downsample.1")
            x = (x + y).relu()
    return x.mean(dim=(2, 3))


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        state = timm.create_model("resnet50", num_classes=0).state_dict()
        for name, tensor in state.items():
            if name.endswith("running_mean"):
                tensor.normal_(std=0.1)
            elif "bn" in name and name.endswith("weight"):
                tensor.fill_(0.7)
    return dict(state)


@pytest.mark.parametrize("extent", ["all", "pool"])
@pytest.mark.parametrize("size", [64, 75])
@torch.inference_mode()
def test_the_whole_network(extent: str, size: int, state: dict[str, Tensor]) -> None:
    network = timm.create_model("resnet50", num_classes=0).eval()
    network.load_state_dict(state)
    images = torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(5))
    stock = network(images)
    use_same_padding(network, extent)
    got = network(images)
    assert network.state_dict().keys() == state.keys()
    torch.testing.assert_close(got, written_out(network, images, extent), rtol=1e-4, atol=1e-4)
    assert (got - stock).abs().max() > 0.01


def test_what_is_padded_at_the_studys_size() -> None:
    # Haiku at 224 pixels: 7x7/2 (2, 3); the pool on 112 (0, 1); 3x3/2 on 56, 28, 14 (0, 1).
    pads = [
        pad(torch.zeros(1, 1, n, n), k, 2).shape[-1] - n for n, k in ((224, 7), (112, 3), (56, 3), (28, 3), (14, 3))
    ]
    assert pads == [5, 1, 1, 1, 1]
    network = timm.create_model("resnet50", num_classes=0)
    use_same_padding(network, "all")
    strided = [type(m).__name__ for m in network.modules() if isinstance(m, nn.Conv2d) and m.stride == (2, 2)]
    assert strided == ["Conv2dSame"] * 7
    pool_only = timm.create_model("resnet50", num_classes=0)
    use_same_padding(pool_only, "pool")
    assert not [m for m in pool_only.modules() if type(m).__name__ == "Conv2dSame"]
    assert [type(m).__name__ for m in pool_only.modules() if isinstance(m, nn.MaxPool2d)] == ["MaxPool2dSame"]
