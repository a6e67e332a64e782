"""Print the tables of docs/zoo.md from a run of the embedded suite.

python -m pytest benchmarks && python tools/zoo_tables.py
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from safetensors.torch import load_file
from scipy.stats import pearsonr, spearmanr
from torchmetrics.functional.classification import multiclass_calibration_error

from sslbench.backbones.zoo import read_card, zoo_names
from sslbench.results.pairing import compare_records
from sslbench.results.ranks import mean_difference, rank_ranges, ranking, ranking_markdown, span
from sslbench.results.record import Record
from sslbench.results.runs import Run
from sslbench.results.statistics import holm
from sslbench.results.tables import natural

# (question, new, base, tasks): what the colour section of docs/zoo.md asks.
COLOUR = ("simclr", "simclr-nocolour"), ("simclr", "supervised"), ("simclr-nocolour", "supervised")
COLOUR_TASKS = tuple(
    f"{protocol}/world-{name}" for name in ("colour", "shape", "texture") for protocol in ("linear", "knn")
)


def table(head: list[str], rows: list[list[str]]) -> str:
    """A Markdown table, the first column to the left."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


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
    head = ["backbone", "loss", "effective rank", "in-domain linear", "untrained", "minutes", "views/s"]
    return table(head, rows)


def scores(column: list[Record]) -> dict[str, str]:
    """The cell of each backbone in one task's column: score with 95 % interval, and its rank range."""
    ranges = rank_ranges(column)
    return {
        r.backbone[
            "name"
        ]: f"{r.main.value:.1f} [{r.main.ci95[0]:.1f}, {r.main.ci95[1]:.1f}] ({span(*ranges[r.backbone['name']])})"
        for r in column
    }


def protocol_tables(columns: dict[str, list[Record]], order: list[str]) -> Iterator[str]:
    """One table a protocol."""
    for protocol in sorted({task.partition("/")[0] for task in columns}):
        tasks = sorted((task for task in columns if task.startswith(f"{protocol}/")), key=natural)
        cells = {task: scores(columns[task]) for task in tasks}
        rows = [[f"`{name}`", *(cells[task].get(name, "–") for task in tasks)] for name in order]
        yield f"### {protocol}\n\n" + table(["backbone", *(task.removeprefix(f"{protocol}/") for task in tasks)], rows)


def against_random(records: list[Record]) -> str:
    """Each zoo backbone against an untrained network of its own architecture."""
    by_name = {
        name: [r for r in records if r.backbone["name"] == name] for name in {r.backbone["name"] for r in records}
    }
    rows = []
    for name in zoo_names():
        # The six residual networks have the same initial weights.
        control = "random-init:zoo:simclr" if read_card(name).arch == "test_resnet" else f"random-init:{name}"
        rows.append(_differences(name, control, by_name[name], by_name[control]))
    return table(["backbone", "control", "mean difference", "tasks", "tasks where it is not separably better"], rows)


def _differences(name: str, control: str, new: list[Record], base: list[Record]) -> list[str]:
    mean = mean_difference(new, base)
    of_control = {r.task["id"]: r for r in base}
    pairs = {r.task["id"]: compare_records(r, of_control[r.task["id"]]) for r in new if r.task["id"] in of_control}
    losing = sorted((task for task, pair in pairs.items() if pair.ci95[0] <= 0), key=natural)
    told = ", ".join(f"{task} ({pairs[task].difference:+.1f})" for task in losing) or "none"
    low, high = mean.ci95
    difference = f"{mean.difference:+.1f} [{low:+.1f}, {high:+.1f}]"
    return [f"`{name}`", f"`{control}`", difference, str(mean.tasks), told]


def colour(columns: dict[str, list[Record]]) -> str:
    """The colour question, paired, with Holm's adjustment over all its comparisons."""
    rows, ps = [], []
    for new, base in COLOUR:
        for task in COLOUR_TASKS:
            found = {r.backbone["name"]: r for r in columns.get(task, [])}
            pair = compare_records(found[f"zoo:{new}"], found[f"zoo:{base}"])
            low, high = pair.ci95
            ps.append(pair.p_two_sided)
            rows.append(
                [
                    f"{new} − {base}",
                    task,
                    f"{pair.difference:+.1f} [{low:+.1f}, {high:+.1f}]",
                    f"{pair.p_two_sided:.2g}",
                ]
            )
    rows = [[*row, f"{p:.2g}"] for row, p in zip(rows, holm(ps), strict=True)]
    return table(["comparison", "task", "difference", "p", "Holm p"], rows)


def in_domain(records: list[Record]) -> str:
    """Does in-domain accuracy predict transfer? Over the zoo's backbones, by protocol and in all."""
    accuracy = {name: read_card(name).facts["in_domain"]["linear_top1"]["value"] for name in zoo_names()}
    rows = []
    for kind in ("fewshot/", "knn/", "linear/", "colour", ""):
        means = {
            name: np.mean([r.main.value for r in records if r.backbone["name"] == name and kind in r.task["id"]])
            for name in accuracy
        }
        pairs = np.array([[accuracy[name], means[name]] for name in accuracy])
        r, rho = pearsonr(*pairs.T), spearmanr(*pairs.T)
        rows.append(
            [
                kind.strip("/") or "all tasks",
                f"{r.statistic:+.2f} ({r.pvalue:.2g})",
                f"{rho.statistic:+.2f} ({rho.pvalue:.2g})",
            ]
        )
    return table(["mean over", "Pearson r (p)", "Spearman rho (p)"], rows)


def calibration(run: Run, records: list[Record]) -> str:
    """Expected calibration error (15 bins, %) of the linear probes on the test pictures, without temperature scaling."""
    linear = [r for r in records if r.task["protocol"] == "linear"]
    tasks = sorted({r.task["id"] for r in linear}, key=natural)
    rows: dict[str, dict[str, float]] = {}
    for record in linear:
        samples = load_file(run.directory / "records" / record.samples["path"])
        probabilities = samples["decision"].double().softmax(dim=1).clamp(max=1 - 1e-7)
        error = multiclass_calibration_error(probabilities, samples["targets"], probabilities.shape[1], n_bins=15)
        rows.setdefault(record.backbone["name"], {})[record.task["id"]] = 100 * float(error)
    ordered = sorted(rows, key=lambda name: np.mean(list(rows[name].values())))
    cells = [
        [f"`{n}`", *(f"{rows[n][t]:.1f}" for t in tasks), f"{np.mean([rows[n][t] for t in tasks]):.1f}"]
        for n in ordered
    ]
    return table(["backbone", *(task.removeprefix("linear/") for task in tasks), "mean"], cells)


def main() -> None:
    """Print every table."""
    made = argparse.ArgumentParser(description="Print the tables of docs/zoo.md from a run of the embedded suite.")
    made.add_argument("run", nargs="?", default="embedded", help="run (default %(default)s)")
    made.add_argument("--results", type=Path, default=Path("results"))
    options = made.parse_args()
    run = Run(options.results / options.run)
    records = run.records()
    columns: dict[str, list[Record]] = {}
    for record in records:
        columns.setdefault(record.task["id"], []).append(record)
    ranks = ranking(records)
    order = [rank.backbone for rank in ranks] + sorted(
        {r.backbone["name"] for r in records} - {r.backbone for r in ranks}
    )
    print("\n\n".join(["## Training", trained(), ranking_markdown(ranks).strip(), *protocol_tables(columns, order)]))
    print("\n\n".join(["", "## Against untrained networks", against_random(records), "## Colour", colour(columns)]))
    print("\n\n".join(["", "## In-domain accuracy", in_domain(records), "## Calibration", calibration(run, records)]))


if __name__ == "__main__":
    main()
