"""The regression gate: is a backbone worse than its baseline by more than chance explains?"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sslbench.errors import RecordError
from sslbench.results.compare import interval, score_text
from sslbench.results.marks import difference_unit
from sslbench.results.pairing import compare_records
from sslbench.results.record import Record
from sslbench.results.statistics import PairedComparison, holm


@dataclass(frozen=True)
class GateConfig:
    """When a case fails: Holm-adjusted one-sided p below `level` and a loss of at least `min_drop` in the score's unit."""

    level: float = 0.05
    min_drop: float = 0.0

    def __post_init__(self) -> None:
        if not 0 < self.level < 1:
            raise ValueError(f"gate level: expected a number between 0 and 1, both excluded, got {self.level}")
        if not self.min_drop >= 0:
            raise ValueError(f"gate minimum drop: expected 0 or more, got {self.min_drop}")


@dataclass(frozen=True)
class GateResult:
    """The gate's answer for one case; `baseline` is the case it was compared with.

    comparison and p_adjusted are None where the two records could not be paired, which fails the case: a gate that
    could not compare must not look green.
    """

    case: str
    baseline: str
    comparison: PairedComparison | None
    p_adjusted: float | None
    failed: bool
    message: str


def baseline_name(backbone: str, names: Collection[str], chosen: str | None) -> str:
    """Which of the baseline's backbones (`names`) stands against `backbone`.

    It is `chosen` when given, else the one of the same name, else the baseline's only one.

    Raises:
        RecordError: the chosen one is not in the baseline, or several are and none has the same name.
    """
    wanted = backbone if chosen is None else chosen
    if wanted in names:
        return wanted
    if chosen is None and len(names) == 1:
        return next(iter(names))
    raise RecordError(
        f"{backbone}: the baseline has no backbone {wanted!r}; it has {', '.join(sorted(names))}. "
        "Name one of them as FILE#BACKBONE"
    )


def match_baseline(record: Record, baseline_records: Sequence[Record], backbone: str | None) -> Record | None:
    """The baseline's record of the same task (see `baseline_name`), or None where the baseline has none."""
    names = {base.backbone["name"] for base in baseline_records}
    if not names:
        return None
    wanted = baseline_name(record.backbone["name"], names, backbone)
    for base in baseline_records:
        if (base.backbone["name"], base.task["id"]) == (wanted, record.task["id"]):
            return base
    return None


def gate(
    records: Sequence[Record], baseline_records: Sequence[Record], config: GateConfig, backbone: str | None = None
) -> list[GateResult]:
    """Compare every record with its baseline, Holm-adjusted over all compared cases.

    A case whose task the baseline lacks has no result.

    Raises:
        RecordError: a baseline record cannot be chosen (`match_baseline`).
    """
    matched = [(record, match_baseline(record, baseline_records, backbone)) for record in records]
    results: list[GateResult] = []
    paired: list[tuple[Record, Record, PairedComparison]] = []
    for record, base in matched:
        if base is None:
            continue
        try:
            paired.append((record, base, compare_records(record, base)))
        except RecordError as error:
            results.append(GateResult(record.case, base.case, None, None, True, str(error)))
    if paired:
        adjusted = holm([comparison.p_worse for _, _, comparison in paired])
        results += [_result(*pair, p, config) for pair, p in zip(paired, adjusted, strict=True)]
    return results


def _result(record: Record, base: Record, comparison: PairedComparison, p: float, config: GateConfig) -> GateResult:
    drop = -comparison.difference if record.main.higher_is_better else comparison.difference
    message = (
        f"{record.main_score} {score_text(record)} against {score_text(base)} of the baseline "
        f"{base.backbone['name']}: difference {interval(comparison, record.main.unit)}; one-sided Holm p = {p:.3g} "
        f"(level {config.level:g}, minimum drop {config.min_drop:g} {difference_unit(record.main.unit)})"
    )
    failed = p < config.level and drop > 0 and drop >= config.min_drop
    if failed:
        message += _trained_elsewhere(record, base)
    return GateResult(record.case, base.case, comparison, p, failed, message)


def _trained_elsewhere(record: Record, base: Record) -> str:
    """What to think of a drop between two kinds of hardware, where steps were taken; else empty."""
    here, there = _hardware(record), _hardware(base)
    if here == there or not (here and there) or not record.took_steps:
        return ""
    return (
        f"; but it was trained on {here} and the baseline on {there}, and there a training comes out otherwise by rounding "
        "alone: compare with a baseline from the same hardware, or give a minimum drop"
    )


def _hardware(record: Record) -> str:
    device = record.environment.get("device", "cpu")
    return str(record.environment.get("cpu", "")) if device == "cpu" else str(device)
