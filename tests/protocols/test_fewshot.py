"""Few-shot episodes: the draws, and right answers against a loop over episodes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sslbench.errors import DataError
from sslbench.features.stacked import Pool
from sslbench.protocols import fewshot
from sslbench.protocols.fewshot import Episodes, FewShot

CLASSES = tuple("abcdefg")


def targets(per_class: int = 30, classes: int = 7, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).permutation(np.repeat(np.arange(classes), per_class)).astype(np.int64)


def features(labels: np.ndarray, dim: int = 5, offset: float = 0.0) -> torch.Tensor:
    rng = np.random.default_rng(1)
    centres = rng.normal(size=(labels.max() + 1, dim))
    return torch.from_numpy(centres[labels] + rng.normal(size=(len(labels), dim)) + offset).float()


def nearest_centroid(x: np.ndarray, episodes: Episodes, shot: int) -> np.ndarray:
    counts = []
    for episode in episodes.rows:
        centroids = [x[rows[:shot]].mean(axis=0) for rows in episode]
        right = 0
        for slot, rows in enumerate(episode):
            for row in rows[shot:]:
                right += int(np.argmin([np.square(x[row] - centroid).sum() for centroid in centroids]) == slot)
        counts.append(right)
    return np.array(counts)


def test_shapes_follow_the_study() -> None:
    episodes = FewShot("5shot").draw(targets(), CLASSES)
    assert episodes.rows.shape == (600, 5, 5 + 15)
    assert episodes.rows.dtype == np.int64


def test_classes_are_distinct_and_rows_belong_to_one_class() -> None:
    labels = targets()
    drawn = labels[FewShot("5shot").draw(labels, CLASSES).rows]
    assert (drawn == drawn[:, :, :1]).all()
    assert all(len(set(slots)) == 5 for slots in drawn[:, :, 0])
    assert set(drawn[:, :, 0].ravel()) == set(range(7))


def test_support_and_query_are_disjoint() -> None:
    rows = FewShot("5shot").draw(targets(), CLASSES).rows
    for episode in rows:
        assert len(np.unique(episode)) == episode.size


def test_a_repeat_draws_the_same_and_other_shots_draw_others() -> None:
    labels = targets(70)
    first, again = FewShot("5shot").draw(labels, CLASSES), FewShot("5shot").draw(labels.copy(), CLASSES)
    np.testing.assert_array_equal(first.rows, again.rows)
    assert first.digest == again.digest
    other = FewShot("20shot").draw(labels, CLASSES)
    assert other.digest != first.digest
    assert not np.array_equal(other.rows[:, :, :20], first.rows)


def test_the_digest_of_a_known_draw_never_changes() -> None:
    # Pinned: a change of the draws must raise the protocol's version.
    assert FewShot("5shot").draw(np.repeat(np.arange(7), 30), CLASSES).digest == "b4e191f8cd02ea7f"


def test_the_digest_follows_the_targets() -> None:
    protocol = FewShot("5shot")
    assert protocol.draw(targets(seed=0), CLASSES).digest != protocol.draw(targets(seed=1), CLASSES).digest


def test_draws_ignore_the_global_generators() -> None:
    labels = targets()
    np.random.seed(1)
    torch.manual_seed(1)
    first = FewShot("5shot").draw(labels, CLASSES).digest
    np.random.seed(2)
    torch.manual_seed(2)
    state = torch.get_rng_state()
    assert FewShot("5shot").draw(labels, CLASSES).digest == first
    assert torch.equal(torch.get_rng_state(), state)


# The offset is what a network without centring gives: every feature far from zero compared with its spread.
@pytest.mark.parametrize(
    ("shot", "offset", "shifted"),
    [(1, 0.0, False), (5, 0.0, False), (20, 0.0, False), (5, 9.0, False), (5, 300.0, True)],
)
def test_right_answers_equal_a_loop_over_episodes(
    shot: int, offset: float, shifted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fewshot, "EPISODES", 40)
    labels = targets(40)
    x = features(labels, offset=offset)
    protocol = FewShot(f"{shot}shot")
    episodes = protocol.draw(labels, CLASSES)
    expected = nearest_centroid(x.double().numpy(), episodes, shot)
    assert 5 * 15 / 5 < expected.mean() < 5 * 15
    np.testing.assert_array_equal(protocol.right_answers(Pool([x]), episodes), expected)
    centroids = x.double()[episodes.rows[..., :shot]].mean(2)
    origin = centroids.mean(1, keepdim=True)
    distances = (centroids - origin).square().sum(-1).mean(1).sqrt()
    assert ((origin[:, 0].norm(dim=-1) > fewshot.FAR * distances) == shifted).all()


@pytest.mark.parametrize("chunk_bytes", [1, 5 * 20 * 5 * 4 * 7])
def test_chunking_changes_nothing(chunk_bytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    labels = targets()
    protocol, x = FewShot("5shot"), features(labels)
    episodes = protocol.draw(labels, CLASSES)
    whole = protocol.right_answers(Pool([x]), episodes)
    monkeypatch.setattr(fewshot, "CHUNK_BYTES", (chunk_bytes, chunk_bytes))
    np.testing.assert_array_equal(protocol.right_answers(Pool([x]), episodes), whole)


def test_all_classes_with_too_few_images_are_named() -> None:
    labels = targets()
    short = np.delete(labels, np.flatnonzero(labels == 3)[:11])
    short = short[short != 6]
    told = (
        r"5 shots and 15 queries need 20 images of each class; fewer are there of 2 of 7 classes: 'd' 19, 'g' 0\. Use"
    )
    for refused in (FewShot("5shot").draw, FewShot("5shot").check_targets):
        with pytest.raises(DataError, match=told):
            refused(short, CLASSES)


def test_fewer_classes_than_ways_are_refused() -> None:
    with pytest.raises(DataError, match="at least 5 classes, got 4"):
        FewShot("5shot").draw(targets(classes=4), CLASSES[:4])


@pytest.mark.parametrize("variant", ["", "shot", "0shot", "-1shot", "fiveshot"])
def test_a_variant_must_name_its_shots(variant: str) -> None:
    with pytest.raises(DataError, match="named like 20shot"):
        FewShot(variant)
