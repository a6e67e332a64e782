"""Rules by which claims are judged, each made into a claim's test by what it is to look at.

A count of tasks `holds` when more than half are won and `does not hold` when half or more are lost, single tasks being won or
lost only where the data separate. A correlation is compared with zero, with a stated bound or with another one, by intervals
and tests for the backbones at hand. What the data leave open `cannot be told`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import combinations, pairwise

from sslbench.studies.claim import (
    FAILS,
    HOLDS,
    UNJUDGED,
    UNKNOWN,
    Association,
    Evidence,
    Finding,
    Judged,
    Measured,
    Verdict,
)

LEVEL = 0.05
STRONG = 0.5
"""A correlation is called strong when its 95 % interval lies above this, Cohen's bound of a large one."""
Selection = Callable[[Evidence], Sequence[Measured]]


def main(*globs: str) -> Selection:
    """The main scores of tasks that match globs."""
    return lambda evidence: [item for glob in globs for item in evidence.items(glob)]


def scores(task: str, *names: str) -> Selection:
    """Scores by name of tasks that match a glob."""
    return lambda evidence: [item for name in names for item in evidence.items(task, name)]


def _unknown(told: str) -> Finding:
    return Finding(UNKNOWN, told)


def _counted(won: int, lost: int, total: int) -> Verdict:
    return HOLDS if won > total / 2 else FAILS if lost >= total / 2 else UNKNOWN


def _plural(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _open(count: int) -> str:
    return f", {count} not separated" if count else ""


def _tests(judged: Sequence[Judged]) -> str:
    names = {
        "paired": "paired tests",
        "independent": "tests of printed standard errors",
        "sign": "signs alone, as no errors are known",
        UNJUDGED: "nothing, as the records know no errors: run more pictures",
    }
    return " and ".join(text for kind, text in names.items() if any(one.test == kind for one in judged))


# Against supervision.


def best_beats_supervised(select: Selection, run: str) -> Callable[[Evidence], Finding]:
    """On most items some self-supervised backbone is better than the supervised one."""

    def test(evidence: Evidence) -> Finding:
        if evidence.supervised is None or not evidence.self_supervised:
            return _unknown(
                "there is no supervised and self-supervised backbone of one family: run the study's networks or zoo:*"
            )
        supervised = evidence.supervised
        found = {item.task: evidence.against(item, supervised) for item in select(evidence)}
        found = {task: judged for task, judged in found.items() if judged}
        if not found:
            return _unknown(f"no scores of such tasks: run {run}")
        won = [task for task, judged in found.items() if any(one.outcome == "win" for one in judged.values())]
        lost = [task for task, judged in found.items() if all(one.outcome == "loss" for one in judged.values())]
        total, test = len(found), _tests([one for judged in found.values() for one in judged.values()])
        count = len(evidence.self_supervised)
        everyone = f"all {count}" if all(len(judged) == count for judged in found.values()) else "all that have it"
        told = (
            f"on {len(won)} of {_plural(total, 'task')} some self-supervised backbone beats {supervised}, on {len(lost)} "
            f"{everyone} are beaten by it{_open(total - len(won) - len(lost))} (by {test})"
        )
        numbers = {"won": float(len(won)), "lost": float(len(lost)), "tasks": float(total)}
        return Finding(_counted(len(won), len(lost), total), told, numbers, test)

    return test


def most_better(
    select: Selection, run: str, what: str, *, lower: bool, top: bool = False
) -> Callable[[Evidence], Finding]:
    """Most self-supervised backbones, or most of the better half by the upstream score, have a lower (or higher) score."""

    def test(evidence: Evidence) -> Finding:
        items = select(evidence)
        if evidence.supervised is None or not evidence.self_supervised:
            return _unknown(
                "there is no supervised and self-supervised backbone of one family: run the study's networks or zoo:*"
            )
        if not items:
            return _unknown(f"no scores of {what}: run {run}")
        names = _better_half(evidence) if top else evidence.self_supervised
        if not names:
            return _unknown("the self-supervised backbones have no upstream score to tell the top ones by")
        cells = [one for item in items for one in _turned(evidence, item, names, lower=lower)]
        won, lost = (sum(one.outcome == outcome for one in cells) for outcome in ("win", "loss"))
        if not cells:
            return _unknown(f"no scores of {what} of both kinds of backbones: run {run}")
        which = f"the {len(names)} best by the upstream score" if top else f"{len(names)} self-supervised backbones"
        told = (
            f"{what} is {'lower' if lower else 'higher'} than that of {evidence.supervised} in {won} of "
            f"{_plural(len(cells), 'comparison')} ({which}, {_plural(len(items), 'score')}), {'higher' if lower else 'lower'} in "
            f"{lost}{_open(len(cells) - won - lost)} (by {_tests(cells)})"
        )
        numbers = {"won": float(won), "lost": float(lost), "comparisons": float(len(cells))}
        return Finding(_counted(won, lost, len(cells)), told, numbers, _tests(cells))

    return test


def _turned(evidence: Evidence, item: Measured, names: Sequence[str], *, lower: bool) -> list[Judged]:
    """Outcomes as wins of the lower, or of the higher, score, whichever of them is better."""
    assert evidence.supervised is not None
    found = evidence.against(item, evidence.supervised, names)
    if item.higher_is_better != lower:
        return list(found.values())
    return [
        Judged(-one.gain, "loss" if one.outcome == "win" else "win" if one.outcome == "loss" else "open", one.test)
        for one in found.values()
    ]


def _better_half(evidence: Evidence) -> tuple[str, ...]:
    """Those at or above the median of the upstream score."""
    known = sorted((n for n in evidence.self_supervised if n in evidence.upstream), key=lambda n: -evidence.upstream[n])
    return tuple(known[: -(-len(known) // 2)])


# Correlations.


def _text(found: Association) -> str:
    interval = "no interval" if found.ci95 is None else f"[{found.ci95[0]:+.2f}, {found.ci95[1]:+.2f}]"
    return f"r = {found.r:+.2f} {interval}, n = {found.n}"


def _numbers(found: Association) -> dict[str, float]:
    return {"r": found.r, "rho": found.rho, "n": float(found.n)}


def _found(evidence: Evidence, select: Selection, run: str) -> tuple[Association, str]:
    items = select(evidence)
    if not items:
        return Association(float("nan"), None, None, float("nan"), 0), f"no scores of such tasks: run {run}"
    found = evidence.association(items)
    if found.ci95 is None and found.n >= 4:
        return found, "all backbones have one score, so that nothing correlates with it: run other backbones"
    if found.ci95 is None:
        return (
            found,
            f"{found.n} backbones with an upstream score have all of it, and an interval takes 4: run more backbones",
        )
    return found, ""


def strong(select: Selection, run: str, *, sign: int = 1) -> Callable[[Evidence], Finding]:
    """The correlation's interval lies beyond `STRONG`, in one direction."""

    def test(evidence: Evidence) -> Finding:
        found, missing = _found(evidence, select, run)
        if missing or found.ci95 is None:
            return _unknown(missing)
        low, high = sorted(sign * end for end in found.ci95)
        verdict: Verdict = HOLDS if low > STRONG else FAILS if high < STRONG else UNKNOWN
        told = f"{_text(found)}; strong means an interval beyond {sign * STRONG:+.1f}"
        return Finding(verdict, told, _numbers(found), "Fisher's z")

    return test


def goes(select: Selection, run: str, *, sign: int = 1) -> Callable[[Evidence], Finding]:
    """A correlation in one direction, however strong: the interval excludes zero on that side."""

    def test(evidence: Evidence) -> Finding:
        found, missing = _found(evidence, select, run)
        if missing or found.ci95 is None:
            return _unknown(missing)
        low, high = sorted(sign * end for end in found.ci95)
        verdict: Verdict = HOLDS if low > 0 else FAILS if high < 0 else UNKNOWN
        told = f"{_text(found)}; the interval {'holds' if verdict == UNKNOWN else 'excludes'} 0"
        return Finding(verdict, told, _numbers(found), "Fisher's z")

    return test


def none(select: Selection, run: str) -> Callable[[Evidence], Finding]:
    """No more than a weak correlation: the whole interval within `STRONG` of zero."""

    def test(evidence: Evidence) -> Finding:
        found, missing = _found(evidence, select, run)
        if missing or found.ci95 is None:
            return _unknown(missing)
        low, high = found.ci95
        inside, apart = max(-low, high) < STRONG, low > 0 or high < 0
        told = f"{_text(found)}; the interval " + (
            "excludes 0" if apart else "is within 0.5 of 0" if inside else "holds 0 and strong correlations alike"
        )
        return Finding(FAILS if apart else HOLDS if inside else UNKNOWN, told, _numbers(found), "Fisher's z")

    return test


def _few(found: Association) -> str:
    return (
        f"{found.n} backbones with an upstream score have all of it, and the test takes 4 and correlations short of 1: run more "
        "backbones"
    )


def weaker_than(than: str, select: Selection, run: str) -> Callable[[Evidence], Finding]:
    """A weaker correlation than that of the tasks of a glob, by a test of two correlations that share backbones."""

    def test(evidence: Evidence) -> Finding:
        items, others = select(evidence), evidence.items(than)
        if not items or not others:
            return _unknown(f"no scores of such tasks: run {run if others else than}")
        weaker, stronger, p = evidence.weaker(items, others)
        if p is None:
            return _unknown(_few(weaker))
        told = f"{_text(weaker)}, against {_text(stronger)} for {than}; p = {p:.2g} that they differ"
        verdict: Verdict = UNKNOWN if p > LEVEL else HOLDS if weaker.r < stronger.r else FAILS
        return Finding(verdict, told, {**_numbers(weaker), "p": p}, "Meng, Rosenthal and Rubin's test")

    return test


def falling(steps: Mapping[str, Selection], run: str) -> Callable[[Evidence], Finding]:
    """The correlation falls from each setting to the next, every step separated."""

    def test(evidence: Evidence) -> Finding:
        items = {name: select(evidence) for name, select in steps.items()}
        if absent := [name for name, several in items.items() if not several]:
            return _unknown(f"no scores of {', '.join(absent)}: run {run}")
        told, ps, falls = [], [], []
        for (first, before), (second, after) in pairwise(items.items()):
            weaker, stronger, p = evidence.weaker(after, before)
            if p is None:
                return _unknown(f"{first} and {second}: {_few(weaker)}")
            told.append(f"{first} {stronger.r:+.2f} to {second} {weaker.r:+.2f} (p = {p:.2g})")
            ps.append(p)
            falls.append(weaker.r < stronger.r)
        # One step of several against it is enough, so that its p is adjusted for all of them; for it, every step has to be.
        against = any(len(ps) * p <= LEVEL and not fall for p, fall in zip(ps, falls, strict=True))
        proven = all(p <= LEVEL for p in ps) and all(falls)
        verdict: Verdict = FAILS if against else HOLDS if proven else UNKNOWN
        return Finding(
            verdict, "; ".join(told), {f"p{i}": p for i, p in enumerate(ps)}, "Meng, Rosenthal and Rubin's test"
        )

    return test


# Which of the self-supervised.


def none_dominates(*globs: str) -> Callable[[Evidence], Finding]:
    """Each self-supervised backbone is beaten by another one on some task; not so where one beats all others on every task.

    One task of many is enough to be beaten, so that each is judged at the level divided by their number.
    """

    def test(evidence: Evidence) -> Finding:
        items = [item for glob in globs for item in evidence.items(glob)]
        whole = [item for item in items if all(name in evidence.values(item) for name in evidence.self_supervised)]
        if len(evidence.self_supervised) < 2 or len({item.task.split("/")[0] for item in whole}) < 2:
            return _unknown(
                "it takes two self-supervised backbones and tasks of two protocols: run more of " + ", ".join(globs)
            )
        beaten: dict[str, int] = {}
        ahead: list[str] = []
        tests: list[Judged] = []
        for name in evidence.self_supervised:
            strictly = [list(evidence.against(item, name, questions=len(whole)).values()) for item in whole]
            tests += [one for several in strictly for one in several]
            beaten[name] = sum(any(one.outcome == "win" for one in several) for several in strictly)
            judged = [list(evidence.against(item, name).values()) for item in whole]
            if all(one.outcome == "loss" for several in judged for one in several):
                ahead.append(name)
        least = min(beaten, key=beaten.__getitem__)
        told = f"{least} is beaten on the fewest tasks: {beaten[least]} of {len(whole)} (by {_tests(tests)})"
        verdict: Verdict = FAILS if ahead else HOLDS if beaten[least] else UNKNOWN
        return Finding(verdict, told, {"beaten": float(beaten[least])}, _tests(tests))

    return test


def first_among(*names: str, select: Selection, run: str) -> Callable[[Evidence], Finding]:
    """The self-supervised backbone with the best score on most items is among those named."""

    def test(evidence: Evidence) -> Finding:
        items = select(evidence)
        if not items:
            return _unknown(f"no scores of such tasks: run {run}")
        if absent := [name for name in names if name not in evidence.self_supervised]:
            return _unknown(f"it is of {' and '.join(names)}, and {' and '.join(absent)} did not run")
        won = lost = 0
        leaders: dict[str, int] = {}
        tests: list[Judged] = []
        for item in items:
            values = {n: v for n, v in evidence.values(item).items() if n in evidence.self_supervised}
            leader = max(values, key=lambda n, v=values, up=item.higher_is_better: v[n] if up else -v[n])  # type: ignore[misc]
            leaders[leader] = leaders.get(leader, 0) + 1
            others = [name for name in values if name not in names]
            judged = {name: evidence.against(item, name, others) for name in names if name in values}
            tests += [one for several in judged.values() for one in several.values()]
            won += any(
                several and all(one.outcome == "loss" for one in several.values()) for several in judged.values()
            )
            lost += bool(judged) and all(any(o.outcome == "win" for o in s.values()) for s in judged.values())
        ranked = ", ".join(f"{name} {count}" for name, count in sorted(leaders.items(), key=lambda pair: -pair[1]))
        told = (
            f"{' or '.join(names)} beats all other self-supervised on {won} of {_plural(len(items), 'score')}, is beaten "
            f"on {lost} (by {_tests(tests)}); highest scores: {ranked}"
        )
        return Finding(_counted(won, lost, len(items)), told, {"won": float(won), "lost": float(lost)}, _tests(tests))

    return test


def different_winners(*globs: str) -> Callable[[Evidence], Finding]:
    """The best self-supervised backbone of one setting is beaten in another, for the leaders of all settings."""

    def test(evidence: Evidence) -> Finding:
        found = {glob: items for glob in globs if (items := evidence.items(glob)) and evidence.self_supervised}
        if len(found) < 2 or len(evidence.self_supervised) < 2:
            return _unknown("it takes two settings and two self-supervised backbones: run more of " + ", ".join(globs))
        leaders = {glob: _leader(evidence, items) for glob, items in found.items()}
        told = ", ".join(f"{glob} {name}" for glob, name in leaders.items() if name)
        several = {name for name in leaders.values() if name}
        numbers = {"leaders": float(len(several))}
        if not several:
            return _unknown("in no setting a self-supervised backbone has all tasks: run more of " + ", ".join(globs))
        if len(several) == 1:
            (one,) = several
            ahead = all(_ahead(evidence, items, one) for items in found.values())
            told = f"one backbone has the best mean rank in all settings: {told}"
            doubt = "" if ahead else "; but it is not separably ahead of all others in each"
            return Finding(FAILS if ahead else UNKNOWN, told + doubt, numbers, "mean ranks")
        candidates = [
            (one, other)
            for one, other in combinations(found, 2)
            if leaders[one] and leaders[other] and leaders[one] != leaders[other]
        ]
        # One task of one pair is enough, and there are so many.
        questions = sum(len(found[one]) + len(found[other]) for one, other in candidates)
        pairs = [
            (one, other)
            for one, other in candidates
            if _beats(evidence, found[one], leaders[one], leaders[other], questions)
            and _beats(evidence, found[other], leaders[other], leaders[one], questions)
        ]
        told = f"best mean rank by setting: {told}" + (
            "" if pairs else "; but no two of these beat each other separably, each in its own setting"
        )
        return Finding(HOLDS if pairs else UNKNOWN, told, numbers, "mean ranks")

    return test


def _leader(evidence: Evidence, items: Sequence[Measured]) -> str:
    ranks: dict[str, list[int]] = {name: [] for name in evidence.self_supervised}
    for item in items:
        values = {name: value for name, value in evidence.values(item).items() if name in ranks}
        order = sorted(values, key=lambda n, v=values, up=item.higher_is_better: -v[n] if up else v[n])  # type: ignore[misc]
        for place, name in enumerate(order):
            ranks[name].append(place)
    whole = {name: sum(places) / len(places) for name, places in ranks.items() if len(places) == len(items)}
    return min(whole, key=whole.__getitem__) if whole else ""


def _beats(evidence: Evidence, items: Sequence[Measured], name: str, other: str, questions: int) -> bool:
    """Whether one backbone is separably better than the other on more items than it is worse on."""
    judged = [
        one.outcome for item in items for one in evidence.against(item, other, (name,), questions=questions).values()
    ]
    return "win" in judged and judged.count("win") > judged.count("loss")


def _ahead(evidence: Evidence, items: Sequence[Measured], name: str) -> bool:
    """Whether one backbone separably beats each other one on more items than it loses."""
    judged = [evidence.against(item, name) for item in items]
    others = {other for several in judged for other in several}
    # A win here is one of the other backbone.
    counts = [[several[other].outcome for several in judged if other in several] for other in others]
    return all(outcomes.count("loss") > outcomes.count("win") for outcomes in counts)
