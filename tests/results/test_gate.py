from __future__ import annotations

import pytest

from sslbench.errors import RecordError
from sslbench.results.gate import GateConfig, gate, match_baseline


def correct(right: int, n: int = 100) -> list[bool]:
    return [position < right for position in range(n)]


def test_a_clear_drop_fails_and_the_message_says_why(make_record):
    (result,) = gate([make_record("new", correct=correct(80))], [make_record("old", correct=correct(90))], GateConfig())
    # 10 discordant items, all against new: p = 2^-10.
    assert result.failed
    assert (result.case, result.baseline) == ("new|linear/digits", "old|linear/digits")
    assert result.p_adjusted == pytest.approx(2**-10)
    for part in ("top1 80.00±1.00 %", "90.00±1.00 % of the baseline old", "-10.00 points, 95 % interval ["):
        assert part in result.message
    assert "Holm p = 0.000977 (level 0.05, minimum drop 0 points)" in result.message


@pytest.mark.parametrize(
    ("hyperparameters", "here", "there", "told"),
    [
        ({"steps": 100}, {"device": "cpu", "cpu": "EPYC"}, {"device": "cpu", "cpu": "Xeon"}, "on EPYC and the baseline on Xeon"),
        ({"steps": 100}, {"device": "H100", "cpu": "EPYC"}, {"device": "cpu", "cpu": "EPYC"}, "on H100 and the baseline on EPYC"),
        ({"steps": 100}, {"device": "H100", "cpu": "EPYC"}, {"device": "H100", "cpu": "Xeon"}, ""),
        ({"steps": 100}, {"device": "cpu", "cpu": "EPYC"}, {}, ""),
        ({"l2": 0.1}, {"device": "cpu", "cpu": "EPYC"}, {"device": "cpu", "cpu": "Xeon"}, ""),
    ],
)  # fmt: skip
def test_a_training_that_fell_on_other_hardware_is_said_to_be_one(make_record, hyperparameters, here, there, told):
    new = make_record("new", correct=correct(80), hyperparameters=hyperparameters, environment=here)
    old = make_record("old", correct=correct(90), hyperparameters=hyperparameters, environment=there)
    (result,) = gate([new], [old], GateConfig())
    assert result.failed and ("rounding alone" in result.message) == bool(told) and told in result.message


@pytest.mark.parametrize("right", [87, 90, 99])
def test_noise_and_gains_pass(make_record, right):
    # 87: 3 discordant items give p = 1/8.
    (result,) = gate([make_record(correct=correct(right))], [make_record(correct=correct(90))], GateConfig())
    assert not result.failed


def test_holm_keeps_what_the_raw_p_would_fail(make_record):
    # 5 discordant items give p = 1/32 < 0.05; next to an unchanged case Holm doubles it to 1/16.
    new = [make_record(task="linear/a", correct=correct(85)), make_record(task="linear/b", correct=correct(90))]
    base = [make_record(task=task, correct=correct(90)) for task in ("linear/a", "linear/b")]
    assert gate(new[:1], base, GateConfig())[0].failed
    first, second = gate(new, base, GateConfig())
    assert first.comparison.p_worse == pytest.approx(1 / 32)
    assert first.p_adjusted == pytest.approx(1 / 16)
    assert not first.failed and not second.failed


def test_the_minimum_drop_is_respected(make_record):
    new, base = [make_record(correct=correct(80))], [make_record(correct=correct(90))]
    assert gate(new, base, GateConfig(min_drop=10.0))[0].failed
    assert not gate(new, base, GateConfig(min_drop=10.1))[0].failed


def test_the_level_is_respected(make_record):
    new, base = [make_record(correct=correct(80))], [make_record(correct=correct(90))]
    assert not gate(new, base, GateConfig(level=2**-10))[0].failed


def test_a_task_the_baseline_lacks_has_no_result_and_does_not_count_for_holm(make_record):
    new = [make_record(task=task, correct=correct(85)) for task in ("linear/a", "linear/b")]
    results = gate(new, [make_record(task="linear/a", correct=correct(90))], GateConfig())
    assert [(result.case, result.p_adjusted) for result in results] == [("swav|linear/a", 1 / 32)]
    assert gate(new, [], GateConfig()) == []


def test_a_case_that_cannot_be_paired_fails_and_leaves_the_others_compared(make_record):
    new = [make_record(task=task, correct=correct(85)) for task in ("linear/a", "linear/b")]
    base = [
        make_record(task="linear/a", correct=correct(85), items="other"),
        make_record(task="linear/b", correct=correct(85)),
    ]
    results = {result.case: result for result in gate(new, base, GateConfig())}
    assert results["swav|linear/a"].failed and results["swav|linear/a"].comparison is None
    assert "digest of the test items differs" in results["swav|linear/a"].message
    assert not results["swav|linear/b"].failed


def test_a_case_of_another_compat_choice_fails_because_nothing_could_be_compared(make_record):
    new, base = (make_record(correct=correct(85), compat={"linear-solver": name}) for name in ("sklearn", "path"))
    (result,) = gate([new], [base], GateConfig())
    assert result.failed and result.comparison is None
    assert "linear-solver (new sklearn, base path)" in result.message


def test_the_baseline_is_matched_by_name(make_record):
    record, base = make_record("a"), [make_record("b"), make_record("a")]
    assert match_baseline(record, base, None) is base[1]
    assert match_baseline(record, base, "b") is base[0]


def test_the_only_backbone_of_a_baseline_is_used_whatever_its_name(make_record):
    base = [make_record("b"), make_record("b", "linear/pets")]
    assert match_baseline(make_record("a", "linear/pets"), base, None) is base[1]
    assert match_baseline(make_record("a", "linear/cars"), base, None) is None


def test_an_ambiguous_or_unknown_baseline_is_an_error(make_record):
    base = [make_record("b"), make_record("c")]
    with pytest.raises(RecordError, match=r"no backbone 'a'; it has b, c\. Name one of them as FILE#BACKBONE"):
        match_baseline(make_record("a"), base, None)
    with pytest.raises(RecordError, match="no backbone 'd'"):
        match_baseline(make_record("b"), base, "d")


@pytest.mark.parametrize("config", [{"level": 0.0}, {"level": 1.0}, {"min_drop": -1.0}, {"min_drop": float("nan")}])
def test_a_gate_that_makes_no_sense_is_refused(config):
    with pytest.raises(ValueError, match="gate"):
        GateConfig(**config)
