"""The target: torchvision's own ResNet-50."""

from __future__ import annotations

import torchvision

from sslbench.backbones.checkpoints.resnet50 import layers, tensor_shapes


def test_names_and_shapes_are_torchvisions() -> None:
    expected = {
        name: tuple(tensor.shape)
        for name, tensor in torchvision.models.resnet50().state_dict().items()
        if not name.startswith("fc.")
    }
    assert tensor_shapes() == expected
    assert len(expected) == 318


def test_layers_come_in_tensorflows_order() -> None:
    names = [layer.convolution for layer in layers()]
    assert len(names) == 53
    assert names[:5] == ["conv1", "layer1.0.downsample.0", "layer1.0.conv1", "layer1.0.conv2", "layer1.0.conv3"]
    # The numbers at which the groups start.
    assert [names.index(f"layer{group}.0.downsample.0") for group in (1, 2, 3, 4)] == [1, 11, 24, 43]
