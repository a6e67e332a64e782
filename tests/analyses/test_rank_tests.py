"""Rank tests against scipy and scikit-posthocs."""

import math
import warnings
from itertools import combinations

import networkx
import numpy as np
import pytest
import scikit_posthocs
from scipy import stats

from sslbench.analyses import Cell, Item, Sheet, sheet_of_study
from sslbench.analyses.block import Block, block
from sslbench.analyses.rank_tests import (
    critical_difference,
    friedman,
    groups,
    mean_ranks,
    nemenyi,
    separated_from,
    wilcoxon_holm,
)
from sslbench.errors import RecordError
from sslbench.studies import STUDIES


def _item(number: int, *, rising: bool = True) -> Item:
    return Item(f"linear/set{number}", "top1" if rising else "error", True, "%" if rising else "degrees", rising)


def _random(k: int, n: int, seed: int, *, ties: bool = False) -> Block:
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(k, n)) + np.linspace(0, 1.5, k)[:, None]
    values = np.round(values) if ties else values
    return Block(tuple(f"b{i}" for i in range(k)), tuple(map(_item, range(n))), values)


@pytest.mark.parametrize("ties", [False, True])
def test_friedman_is_scipys(ties: bool) -> None:
    made = _random(6, 11, 4, ties=ties)
    found, expected = friedman(made), stats.friedmanchisquare(*made.values)
    assert (found.chi2, found.p) == pytest.approx((expected.statistic, expected.pvalue))
    f = 10 * found.chi2 / (11 * 5 - found.chi2)
    assert (found.f, found.f_p) == pytest.approx((f, stats.f.sf(f, 5, 50)))
    assert np.array_equal(made.ranks, stats.rankdata(-made.values, axis=0))


def test_friedman_of_one_order_and_of_no_difference() -> None:
    same = Block(("a", "b", "c"), tuple(map(_item, range(5))), np.tile([[1.0], [2.0], [3.0]], 5))
    assert friedman(same).chi2 == pytest.approx(10) and friedman(same).f == math.inf and friedman(same).f_p == 0
    assert friedman(Block(same.backbones, same.items, np.ones((3, 5)))).p == 1
    with pytest.raises(RecordError, match="3 backbones and 2 tasks"):
        friedman(_random(2, 5, 0))


@pytest.mark.parametrize("ties", [False, True])
def test_nemenyi_is_scikit_posthocs(ties: bool) -> None:
    made = _random(5, 9, 2, ties=ties)
    expected = scikit_posthocs.posthoc_nemenyi_friedman(made.values.T).to_numpy()
    for (i, j), p in zip(combinations(range(5), 2), nemenyi(made).values(), strict=True):
        assert p == pytest.approx(expected[i, j], abs=1e-6)


def test_critical_differences_are_those_of_the_table() -> None:
    # Demšar 2006, table 5a: q of .05 for 2, 5 and 10 classifiers.
    for k, q in ((2, 1.960), (5, 2.728), (10, 3.164)):
        assert critical_difference(k, 10) == pytest.approx(q * math.sqrt(k * (k + 1) / 60), rel=3e-4)


@pytest.mark.filterwarnings("ignore:Sample size too small")
def test_wilcoxon_is_scikit_posthocs() -> None:
    made = _random(5, 12, 7)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = scikit_posthocs.posthoc_wilcoxon(list(made.standardised), p_adjust="holm").to_numpy()
    for (i, j), p in zip(combinations(range(5), 2), wilcoxon_holm(made).values(), strict=True):
        assert p == pytest.approx(expected[i, j])
    equal = Block(("a", "b"), made.items, np.tile(made.values[:1], (2, 1)))
    assert wilcoxon_holm(equal) == {("a", "b"): 1.0}


def test_standardised_gains_do_not_depend_on_units() -> None:
    made = _random(4, 6, 1)
    items = tuple(_item(i, rising=i % 2 == 0) for i in range(6))
    turned = made.values * np.array([10.0 if item.higher_is_better else -0.1 for item in items]) + 3
    other = Block(made.backbones, items, turned)
    assert other.standardised == pytest.approx(made.standardised) and wilcoxon_holm(other) == wilcoxon_holm(made)
    assert other.ranks == pytest.approx(made.ranks)
    assert np.allclose(stats.zscore(made.values, axis=0), made.standardised)


def test_groups_are_all_maximal_cliques() -> None:
    rng = np.random.default_rng(5)
    for _ in range(20):
        names = [f"n{i}" for i in range(8)]
        p = {pair: float(rng.random() < 0.6) for pair in combinations(names, 2)}
        graph = networkx.Graph([pair for pair, value in p.items() if value])
        graph.add_nodes_from(names)
        expected = {frozenset(clique) for clique in networkx.find_cliques(graph) if len(clique) > 1}
        found = groups(names, p)
        assert {frozenset(clique) for clique in found} == expected
        assert all(list(clique) == sorted(clique) for clique in found)


def test_groups_with_critical_differences_are_runs_of_the_mean_ranks() -> None:
    sheet, tasks = sheet_of_study(STUDIES["ericsson2021"]), STUDIES["ericsson2021"].suites[0].tasks
    made = block(sheet, [item for item in sheet.main_items if item.task in tasks])
    assert len(made.items) == 40 and not made.left_out
    order, apart = mean_ranks(made), critical_difference(14, 40)
    p = nemenyi(made)
    for clique in groups(list(order), p):
        assert order[clique[-1]] - order[clique[0]] < apart
        names = list(order)
        assert list(clique) == names[names.index(clique[0]) : names.index(clique[-1]) + 1]
    assert min(order, key=order.__getitem__) == "deepcluster-v2"
    assert "swav" not in separated_from("deepcluster-v2", order, p) and "pirl" in separated_from(
        "deepcluster-v2", order, p
    )


def test_items_with_holes_are_left_out_and_told() -> None:
    names, items = ("a", "b", "pixels"), tuple(map(_item, range(3)))
    cells = {(n, i): Cell(float(len(n) + x)) for n in names for x, i in enumerate(items) if (n, x) != ("b", 1)}
    made = block(Sheet("made up", cells))
    assert made.backbones == ("a", "b") and made.items == (items[0], items[2]) and made.left_out == (items[1],)
    assert block(Sheet("made up", cells), items, ["a", "pixels"]).items == items
    with pytest.raises(RecordError, match="none of 1"):
        block(Sheet("made up", cells), [items[1]])
