"""Score survives JSON and refuses what is no score."""

import json
import math

import pytest

from sslbench.metrics import Score


def test_json_round_trip_keeps_every_field():
    score = Score(value=71.3, stderr=0.4, ci95=(70.5, 72.1), n=600, unit="deg", higher_is_better=False)
    assert Score.from_json(json.loads(json.dumps(score.to_json()))) == score


def test_whole_numbers_in_json_come_back_as_floats():
    score = Score.from_json(Score(value=1.0, stderr=0.0, ci95=(0.0, 1.0), n=3).to_json() | {"value": 1, "ci95": [0, 1]})
    assert isinstance(score.value, float)
    assert all(isinstance(limit, float) for limit in score.ci95)


@pytest.mark.parametrize("unknown", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_null_in_json_and_nan_when_read(unknown):
    data = json.loads(json.dumps(Score(unknown, unknown, (unknown, 3.0), n=3).to_json(), allow_nan=False))
    assert (data["value"], data["stderr"], data["ci95"]) == (None, None, [None, 3.0])
    score = Score.from_json(data)
    assert math.isnan(score.value) and math.isnan(score.stderr) and math.isnan(score.ci95[0])
    assert (score.ci95[1], score.n) == (3.0, 3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"value": "71"}, "'value': expected a number"),
        ({"stderr": "nan"}, "'stderr': expected a number"),
        ({"ci95": None}, "'ci95': expected two numbers"),
        ({"ci95": [1.0]}, "'ci95': expected two numbers"),
        ({"ci95": [1.0, "2"]}, "'ci95': expected a number"),
        ({"n": 6.5}, "'n': expected an integer"),
        ({"n": True}, "'n': expected an integer"),
        ({"unit": 1}, "'unit': expected a string"),
        ({"higher_is_better": 1}, "'higher_is_better': expected true or false"),
        ({"extra": 1}, r"unknown \['extra'\]"),
    ],
)
def test_wrong_field_is_named(change, message):
    data = Score(value=71.3, stderr=0.4, ci95=(70.5, 72.1), n=600).to_json()
    with pytest.raises(ValueError, match=message):
        Score.from_json(data | change)


def test_missing_field_is_named():
    data = Score(value=71.3, stderr=0.4, ci95=(70.5, 72.1), n=600).to_json()
    del data["ci95"]
    with pytest.raises(ValueError, match=r"missing \['ci95'\]"):
        Score.from_json(data)
