"""The tables of docs/zoo.md, from the committed baseline and the zoo's cards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from scipy.stats import pearsonr, spearmanr

from doc_blocks.calibration import calibration
from sslbench.analyses.sheet import is_control
from sslbench.backbones.zoo import read_card, zoo_names
from sslbench.metrics import Score
from sslbench.results.markdown import table
from sslbench.results.marks import GUESSING, UNSOLVED_MARK, VERDICT_LEGEND, guess, legends, unsolved
from sslbench.results.pairing import compare_records
from sslbench.results.ranks import mean_difference, rank_ranges, ranking, ranking_markdown, span
from sslbench.results.record import Record, by_task
from sslbench.results.statistics import PairedComparison, holm
from sslbench.results.tables import natural

Columns = Mapping[str, Sequence[Record]]

# (new, base) and tasks: what the colour section asks.
COLOUR = ("simclr", "simclr-nocolour"), ("simclr", "supervised"), ("simclr-nocolour", "supervised")
COLOUR_TASKS = tuple(
    f"{protocol}/world-{name}" for name in ("colour", "shape", "texture") for protocol in ("linear", "knn")
)


def blocks(records: Sequence[Record]) -> dict[str, str]:
    """By name."""
    columns = by_task(records)
    ranks = ranking(records)
    order = [rank.backbone for rank in ranks]
    order += sorted({record.backbone["name"] for record in records} - set(order))
    protocols = sorted({record.task["protocol"] for record in records})
    return {
        "zoo-training": trained(),
        "zoo-ranking": ranking_markdown(ranks).partition("## ranking\n")[2],
        **{f"zoo-{name}": protocol_table(name, columns, order) for name in protocols},
        "zoo-untrained": against_untrained(_rising(records)),
        "zoo-finetune-untrained": against_untrained([r for r in records if r.task["protocol"] == "finetune"]),
        "zoo-detection-untrained": detection_gains(columns),
        "zoo-dense-untrained": dense_gains(columns),
        "zoo-gains": colour_gains(columns),
        "zoo-colour": colour(columns),
        "zoo-inverted-colour": inverted_colour(columns),
        "zoo-attention": attention(columns),
        "zoo-in-domain": in_domain(_rising(records)),
        "zoo-calibration": calibration(records),
    }


def trained() -> str:
    """What the cards say."""
    rows = []
    for name in zoo_names():
        facts = read_card(name).facts
        training, found = facts["training"], facts["in_domain"]
        scores = [
            f"{found[key]['value']:.1f} ± {found[key]['stderr']:.1f}"
            for key in ("linear_top1", "untrained_linear_top1")
        ]
        rows.append(
            [
                f"`{name}`", f"{training['first_loss']:.3f} → {training['last_loss']:.3f}",
                f"{found['effective_rank']:.1f}", *scores, f"{training['seconds'] / 60:.0f}",
                f"{training['views_per_second']:.0f}",
            ]
        )  # fmt: skip
    return table(["backbone", "loss", "effective rank", "in-domain linear", "untrained", "minutes", "views/s"], rows)


def protocol_table(protocol: str, columns: Columns, order: Sequence[str]) -> str:
    """Scores with 95 % interval and rank range, backbones as rows, tasks as columns, the level of guessing last."""
    tasks = sorted((task for task in columns if task.startswith(f"{protocol}/")), key=natural)
    cells = {task: scores(columns[task]) for task in tasks}
    rows = [[f"`{name}`", *(cells[task].get(name, "–") for task in tasks)] for name in order]
    levels = [guess(columns[task]) for task in tasks]
    if any(level is not None for level in levels):
        rows.append([f"*{GUESSING}*", *("–" if level is None else f"{level:.1f}" for level in levels)])
    told = [text for text in legends(r for task in tasks for r in columns[task]) if text != VERDICT_LEGEND]
    body = table(["backbone", *(task.removeprefix(f"{protocol}/") for task in tasks)], rows)
    return "\n\n".join([body, *(f"{legend[0].upper()}{legend[1:]}." for legend in told)])


def scores(column: Sequence[Record]) -> dict[str, str]:
    """The cells of one task by backbone: score, 95 % interval and range of ranks."""
    ranges = rank_ranges(column)
    cells = {}
    for record in column:
        name, (low, high) = record.backbone["name"], record.main.ci95
        mark = UNSOLVED_MARK * unsolved(record)
        cells[name] = f"{record.main.value:.1f}{mark} [{low:.1f}, {high:.1f}] ({span(*ranges[name])})"
    return cells


def against_untrained(records: Sequence[Record]) -> str:
    """Each zoo backbone against an untrained network of its own architecture."""
    rows = []
    for name in zoo_names():
        new, base = _of(records, name), _of(records, _untrained(name))
        mean, pairs = mean_difference(new, base), _pairs(new, base)
        losing = sorted((task for task, pair in pairs.items() if pair.ci95[0] <= 0), key=natural)
        told = ", ".join(f"{task} ({pairs[task].difference:+.1f})" for task in losing) or "none"
        rows.append(
            [f"`{name}`", f"`{_untrained(name)}`", _interval(mean.difference, mean.ci95), str(mean.tasks), told]
        )
    return table(["backbone", "control", "mean difference", "tasks", "tasks where it is not separably better"], rows)


def _rising(records: Sequence[Record]) -> list[Record]:
    """Those of which a mean has a meaning: degrees are no percent."""
    return [record for record in records if record.main.higher_is_better]


def _untrained(name: str) -> str:
    # The six residual networks have the same initial weights.
    return "random-init:zoo:simclr" if read_card(name).arch == "test_resnet" else f"random-init:{name}"


def _of(records: Sequence[Record], name: str) -> list[Record]:
    return [record for record in records if record.backbone["name"] == name]


def _pairs(new: Sequence[Record], base: Sequence[Record]) -> dict[str, PairedComparison]:
    theirs = {record.task["id"]: record for record in base}
    return {r.task["id"]: compare_records(r, theirs[r.task["id"]]) for r in new if r.task["id"] in theirs}


def _interval(difference: float, ci95: tuple[float, float]) -> str:
    return f"{difference:+.1f} [{ci95[0]:+.1f}, {ci95[1]:+.1f}]"


def detection_gains(columns: Columns) -> str:
    """AP50 of each zoo backbone, and against an untrained network of its own architecture, in both settings."""
    tasks = sorted((task for task in columns if task.startswith("detection/")), key=natural)
    rows = []
    for name in zoo_names():
        cells = []
        for task in tasks:
            ((new,), (base,)) = (_of(columns[task], each) for each in (name, _untrained(name)))
            pair, score = compare_records(new, base, "AP50"), new.scores["AP50"]
            cells += [f"{score['value']:.1f} ± {score['stderr']:.1f}", _interval(pair.difference, pair.ci95)]
        rows.append([f"`{name}`", *cells])
    heads = [head for task in tasks for head in (f"AP50, {task.rpartition('/')[2]}", "against untrained")]
    return table(["backbone", *heads], rows)


def dense_gains(columns: Columns) -> str:
    """Masks and normals of each zoo backbone, and against an untrained network of its own architecture; what a grid allows."""
    tasks = [
        f"{task}{variant}"
        for task in ("segmentation/world-masks", "normals/world-normals")
        for variant in ("/linear", "")
    ]
    rows = []
    for name in zoo_names():
        cells = []
        for task in tasks:
            ((new,), (base,)) = (_of(columns[task], each) for each in (name, _untrained(name)))
            pair = compare_records(new, base)
            most = new.hyperparameters.get("ceiling", {}).get(new.main_score)
            told = "" if most is None else f" ({most:.1f})"
            cells += [f"{new.main.value:.1f} ± {new.main.stderr:.1f}{told}", _interval(pair.difference, pair.ci95)]
        rows.append([f"`{name}`", *cells])
    heads = [head for task in tasks for head in (task.partition("/world-")[2].replace("/", ", "), "against untrained")]
    return table(["backbone", *heads], rows)


def colour_gains(columns: Columns) -> str:
    """Each residual network against its initial weights on colour, by both probes."""
    tasks = [task for task in COLOUR_TASKS if task.endswith("/world-colour")]
    rows = []
    for name in (name for name in zoo_names() if read_card(name).arch == "test_resnet"):
        pairs = {task: _pairs(_of(columns[task], name), _of(columns[task], _untrained(name)))[task] for task in tasks}
        rows.append([f"`{name}`", *(_interval(pair.difference, pair.ci95) for pair in pairs.values())])
    return table(["backbone", *tasks], rows)


def colour(columns: Columns) -> str:
    """The colour question, paired, with Holm's adjustment over all its comparisons."""
    rows, ps = [], []
    for new, base in COLOUR:
        for task in COLOUR_TASKS:
            pair = _pairs(_of(columns[task], f"zoo:{new}"), _of(columns[task], f"zoo:{base}"))[task]
            ps.append(pair.p_two_sided)
            told = _interval(pair.difference, pair.ci95)
            rows.append([f"{new} − {base}", task, told, f"{pair.p_two_sided:.2g}"])
    rows = [[*row, f"{p:.2g}"] for row, p in zip(rows, holm(ps), strict=True)]
    return table(["comparison", "task", "difference", "p", "Holm p"], rows)


def inverted_colour(columns: Columns) -> str:
    """What is left of colour in reconstructions, each network's and paired, with Holm's adjustment over the pairs."""
    (column,) = (records for task, records in columns.items() if task.startswith("inversion/"))
    rows = []
    for record in column:
        left, whole = (Score.from_json(record.scores[name]) for name in ("mse_chroma", "mse_grey"))
        rows.append(
            [f"`{record.backbone['name']}`", *(f"{each.value:.0f} ± {each.stderr:.0f}" for each in (left, whole))]
        )
    (bar,) = {record.hyperparameters["chroma_of_grey"] for record in column}
    rows.append(["*a picture without colour*", f"{bar:.0f}", "0"])
    pairs, ps = [], []
    for new, base in COLOUR:
        (one,), (other,) = (_of(column, f"zoo:{name}") for name in (new, base))
        pair = compare_records(one, other, "mse_chroma")
        ps.append(pair.p_two_sided)
        low, high = pair.ci95
        pairs.append(
            [f"{new} − {base}", f"{pair.difference:+.0f} [{low:+.0f}, {high:+.0f}]", f"{pair.p_two_sided:.2g}"]
        )
    pairs = [[*row, f"{p:.2g}"] for row, p in zip(pairs, holm(ps), strict=True)]
    errors = table(["backbone", "error of colour", "error of lightness"], rows)
    return f"{errors}\n\n{table(['comparison', 'error of colour', 'p', 'Holm p'], pairs)}"


def attention(columns: Columns) -> str:
    """How much of attention lies on objects, and the supervised network's diffusion less each other trained one's, with Holm."""
    (column,) = (records for task, records in columns.items() if task.startswith("occlusion/"))
    (supervised,) = _of(column, "zoo:supervised")
    others = [record for record in column if record is not supervised and not is_control(record.backbone["name"])]
    pairs = {record.case: compare_records(supervised, record) for record in others}
    adjusted = dict(zip(pairs, holm([pair.p_two_sided for pair in pairs.values()]), strict=True))
    rows = []
    for record in column:
        excess, pointing = (Score.from_json(record.scores[name]) for name in ("attention_excess", "pointing_game"))
        row = [f"`{record.backbone['name']}`", _interval(excess.value, excess.ci95), f"{pointing.value:.1f}"]
        pair = pairs.get(record.case)
        row += ["–", "–"] if pair is None else [_interval(pair.difference, pair.ci95), f"{adjusted[record.case]:.2g}"]
        rows.append(row)
    return table(["backbone", "attention excess", "pointing game", "supervised less it, diffusion", "Holm p"], rows)


def in_domain(records: Sequence[Record]) -> str:
    """Does in-domain accuracy predict transfer? Over the zoo's backbones, by protocol and in all."""
    accuracy = {name: read_card(name).facts["in_domain"]["linear_top1"]["value"] for name in zoo_names()}
    rows = []
    for kind in ("detection/", "fewshot/", "finetune/", "knn/", "linear/", "segmentation/", "colour", ""):
        means = {name: np.mean([r.main.value for r in _of(records, name) if _is(kind, r)]) for name in accuracy}
        pairs = np.array([[accuracy[name], means[name]] for name in accuracy])
        r, rho = pearsonr(*pairs.T), spearmanr(*pairs.T)
        low, high = r.confidence_interval(0.95)
        rows.append(
            [
                kind.strip("/") or "all tasks",
                f"{r.statistic:+.2f} ({r.pvalue:.2g})",
                f"{low:+.2f} to {high:+.2f}",
                f"{rho.statistic:+.2f} ({rho.pvalue:.2g})",
            ]
        )
    return table(["mean over", "Pearson r (p)", "95 % interval of r", "Spearman rho (p)"], rows)


def _is(kind: str, record: Record) -> bool:
    """Whether a record is of a protocol, or of colours."""
    task = str(record.task["id"])
    return kind in task if kind == "colour" else task.startswith(kind)
