"""Extraction: what may and what may not change features."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image

from sslbench.backbones.backbone import Backbone
from sslbench.backbones.digest import weights_digest
from sslbench.datasets import Images
from sslbench.errors import DataError, FeatureError
from sslbench.features.cache import recipe_key
from sslbench.features.extract import extract_features, feature_recipe
from tests.pictures import Pictures

MakeBackbone = Callable[..., Backbone]
MakeSource = Callable[..., Images]


def test_features_are_the_embeddings_of_the_preprocessed_images(
    make_backbone: MakeBackbone, make_source: MakeSource
) -> None:
    backbone, source = make_backbone(), make_source(5)
    got = extract_features(backbone, source, batch_size=2)
    expected = backbone.embed(backbone.preprocess(source.load(range(0, 5)))).numpy()
    np.testing.assert_allclose(got["x"], expected, atol=1e-6)
    np.testing.assert_array_equal(got["rows"], np.arange(5))
    assert got["x"].dtype == np.float32
    assert got["rows"].dtype == np.int64


@pytest.mark.parametrize("batch_size", [1, 3, 10])
def test_batch_size_does_not_matter(batch_size: int, make_backbone: MakeBackbone, make_source: MakeSource) -> None:
    backbone, source = make_backbone(), make_source(10)
    whole = extract_features(backbone, source, batch_size=256)["x"]
    backbone.network.batches.clear()
    got = extract_features(backbone, source, batch_size=batch_size)["x"]
    assert max(backbone.network.batches) == batch_size
    np.testing.assert_allclose(got, whole, atol=1e-6)


def test_weights_and_batchnorm_statistics_stay_bit_equal_even_in_training_mode(
    make_backbone: MakeBackbone, make_source: MakeSource
) -> None:
    backbone, source = make_backbone(), make_source()
    expected = extract_features(backbone, source)["x"]
    module = backbone.network.module
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    digest = weights_digest(module, "r")
    module.train()
    got = extract_features(backbone, source)["x"]
    np.testing.assert_array_equal(got, expected)
    assert any("running_mean" in name for name in before)
    for name, tensor in module.state_dict().items():
        assert torch.equal(tensor, before[name]), name
    assert weights_digest(module, "r") == digest


def test_channels_last_does_not_change_the_digest(make_backbone: MakeBackbone, make_source: MakeSource) -> None:
    untouched, used = make_backbone(), make_backbone()
    extract_features(used, make_source())
    assert used.network.module[0].weight.is_contiguous(memory_format=torch.channels_last)
    assert used.digest == untouched.digest


def test_nan_features_name_backbone_and_image(make_backbone: MakeBackbone, make_source: MakeSource) -> None:
    with pytest.raises(FeatureError, match=r"small-0 gave NaN or infinite features for image 7 of random:0:10:7"):
        extract_features(make_backbone(poison=True), make_source(10, white=7), batch_size=4)


def test_nan_after_skipped_images_names_the_row_of_the_source(
    make_backbone: MakeBackbone, make_source: MakeSource
) -> None:
    inner = make_source(8, white=6)

    def read(row: int) -> Image.Image | None:
        return None if row in (0, 4, 5) else Image.fromarray(inner.load([row])[0])

    with pytest.raises(FeatureError, match="image 6 of"):
        extract_features(make_backbone(poison=True), Pictures("s", 8, read), batch_size=4)


def test_skipped_images_leave_rows_that_point_into_the_source(
    make_backbone: MakeBackbone, make_source: MakeSource
) -> None:
    backbone, inner = make_backbone(), make_source(9)
    missing = {0, 3, 4, 5, 8}

    def read(row: int) -> Image.Image | None:
        return None if row in missing else Image.fromarray(inner.load([row])[0])

    whole = extract_features(backbone, inner)["x"]
    # With batches of three, one whole batch is unreadable.
    got = extract_features(backbone, Pictures("s", 9, read), batch_size=3)
    assert got["rows"].tolist() == [1, 2, 6, 7]
    np.testing.assert_allclose(got["x"], whole[got["rows"]], atol=1e-6)


def test_a_source_without_any_readable_image_is_refused(make_backbone: MakeBackbone) -> None:
    with pytest.raises(DataError, match="no readable image"):
        extract_features(make_backbone(), Pictures("s", 3, lambda row: None))


def test_an_unknown_dtype_is_refused(make_backbone: MakeBackbone, make_source: MakeSource) -> None:
    with pytest.raises(DataError, match="unknown dtype 'float8'; expected float32, bfloat16, float16"):
        extract_features(make_backbone(), make_source(), dtype="float8")


def test_autocast_changes_features_a_little_and_the_key(make_backbone: MakeBackbone, make_source: MakeSource) -> None:
    backbone, source = make_backbone(), make_source()
    full, half = (extract_features(backbone, source, dtype=dtype)["x"] for dtype in ("float32", "bfloat16"))
    assert half.dtype == np.float32
    assert not np.array_equal(full, half)
    np.testing.assert_allclose(half, full, atol=0.02)
    keys = {recipe_key(feature_recipe(backbone, source, dtype)) for dtype in ("float32", "bfloat16", "float16")}
    assert len(keys) == 3


def test_the_recipe_follows_weights_preprocessing_pooling_and_images(
    make_backbone: MakeBackbone, make_source: MakeSource
) -> None:
    base, pooled = make_backbone(), make_backbone()
    pooled.pooling = "avg"
    normalised = make_backbone()
    normalised.preprocessing = type(base.preprocessing)(input_size=(16, 16), resize=16)
    cases = [
        (base, make_source()), (make_backbone(seed=1), make_source()), (pooled, make_source()),
        (normalised, make_source()), (base, make_source(seed=1)),
    ]  # fmt: skip
    keys = [recipe_key(feature_recipe(backbone, source, "float32")) for backbone, source in cases]
    assert len(set(keys)) == len(cases)
    assert keys[0] == recipe_key(feature_recipe(make_backbone(), make_source(), "float32"))


def test_features_stored_in_half_precision(make_backbone: MakeBackbone, make_source: MakeSource) -> None:
    backbone, source = make_backbone(), make_source(9)
    whole = extract_features(backbone, source)["x"]
    half = extract_features(backbone, source, stored="float16", batch_size=4)["x"]
    assert half.dtype == np.float16
    np.testing.assert_array_equal(half, whole.astype(np.float16))
    recipes = [feature_recipe(backbone, source, "float32", stored) for stored in ("float32", "float16")]
    assert recipes[0] != recipes[1]
    with pytest.raises(DataError, match="unknown type to store features in: 'int8'; expected float32, float16"):
        extract_features(backbone, source, stored="int8")


def test_features_that_half_precision_cannot_hold(make_backbone: MakeBackbone, make_source: MakeSource) -> None:
    backbone = make_backbone()
    with torch.no_grad():
        backbone.network.module[0].weight.mul_(1e7)
    with pytest.raises(FeatureError, match=r"infinite features for image 0 .* store in float32"):
        extract_features(backbone, make_source(3), stored="float16")
