"""What a protocol gives for one case."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import numpy.typing as npt

    from sslbench.metrics import Score


@dataclass(frozen=True)
class Paired:
    """What a paired test of two backbones takes.

    kind and values: `correct`, which test items were right, bool (N,); `episodes`, how many answers of each episode, (E,); or
    `resamples`, the main score on seeded resamples of the test items that depend on their number alone, (R,), for all that is
    no mean of right and wrong (`sslbench.metrics.resampling`). items: digest of the test items or draws; two records are paired
    only when it is equal. facts: JSON that the test needs besides: `per_episode`,
    answers of an episode, or `images`, items behind resamples. others: by the name of a further score, its values on such
    resamples (R,). Raises ValueError where a fact is missing.
    """

    kind: Literal["correct", "episodes", "resamples"]
    values: npt.NDArray[Any]
    items: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    others: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        needed = {"correct": None, "episodes": "per_episode", "resamples": "images"}
        if self.kind not in needed:
            raise ValueError(f"kind: expected {', '.join(needed)}, got {self.kind!r}")
        fact = needed[self.kind]
        number = self.facts.get(fact) if fact else 1
        if not isinstance(number, int) or number < 1:
            raise ValueError(f"{self.kind}: expected a positive whole {fact!r} among the facts, got {dict(self.facts)}")
        if odd := [name for name, values in self.others.items() if values.ndim != 1]:
            raise ValueError(f"others: expected values (R,) of {odd[0]!r}, got shape {self.others[odd[0]].shape}")


@dataclass(frozen=True)
class Outcome:
    """scores: by name. main: the name of the one that is compared.

    guess: the main score of who does not look at the pictures; None where nobody can say. samples: arrays that are stored
    beside the record, such as decisions on the test items. draws: digest of what was drawn at random for the test, which becomes
    part of the task's version; empty without draws. fitted: plain data, what scoring itself fitted, which stands among the
    record's hyperparameters. Raises ValueError for scores that are none, a main one that is not among them, and further scores
    of `paired` that are not.
    """

    scores: Mapping[str, Score]
    main: str
    guess: float | None
    paired: Paired | None
    samples: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)
    draws: str = ""
    fitted: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        from sslbench.metrics import Score

        if odd := [name for name, score in self.scores.items() if not isinstance(score, Score)]:
            raise ValueError(f"scores: expected a Score for {odd[0]!r}, got {type(self.scores[odd[0]]).__name__}")
        if self.main not in self.scores:
            raise ValueError(f"main: expected one of the scores {', '.join(self.scores)}, got {self.main!r}")
        if unknown := sorted((self.paired.others if self.paired else {}).keys() - (self.scores.keys() - {self.main})):
            raise ValueError(
                f"paired: expected others to be further scores beside {self.main!r}, got {', '.join(unknown)}"
            )
        if not (self.guess is None or isinstance(self.guess, int | float)):
            raise ValueError(f"guess: expected a number or None, got {self.guess!r}")
