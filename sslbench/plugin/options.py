"""The plugin's options: declared once, read once into a frozen dataclass."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from sslbench.compat import parse_compat
from sslbench.config import (
    CHOICES,
    Settings,
    check_choice,
    check_number,
    default_cache_dir,
    default_data_dir,
    default_offline,
    default_results_dir,
    expand,
    url_in,
)
from sslbench.engine.sharding import Shard, parse_shard
from sslbench.errors import SettingsError, SslbenchError
from sslbench.names import split_patterns
from sslbench.plugin.ini import IniFile, Value, is_yes
from sslbench.store.url import is_url

RERUN = ("missing", "failed", "all")


@dataclass(frozen=True)
class _Option:
    flag: str
    help: str
    metavar: str | None = None
    choices: tuple[str, ...] | None = None
    default: str = ""
    switch: bool = False

    @property
    def ini(self) -> str:
        return self.flag.removeprefix("--").replace("-", "_")


def _choice(flag: str, name: str, help: str) -> _Option:
    return _Option(flag, help, choices=CHOICES[name], default=CHOICES[name][0])


_OPTIONS = (
    _Option("--sslbench-suite", "suite of tasks to run (sslbench list suites)", "NAME", default="embedded"),
    _Option("--sslbench-backbones", r"backbones instead of the suite's own; \, is a comma of a path", "GLOB[,GLOB]"),
    _Option("--sslbench-tasks", "tasks of the suite to run, or any task id, or PROTOCOL/folder:PATH", "GLOB[,GLOB]"),
    _Option("--sslbench-shard", "run the K-th of N parts of the cases; N such sessions run each case once", "K/N"),
    _Option("--sslbench-data", "where datasets lie (or SSLBENCH_DATA; default data)", "DIR"),
    _Option("--sslbench-cache", "where features are kept (or SSLBENCH_CACHE; default ~/.cache/sslbench)", "DIR|URL"),
    _Option("--sslbench-results", "where records and tables go (or SSLBENCH_RESULTS; default results)", "DIR|URL"),
    _Option("--sslbench-device", "auto, cpu, cuda or cuda:N", "DEVICE", default="auto"),
    _Option("--sslbench-batch-size", "pictures embedded at once; by default the device decides", "N"),
    _choice("--sslbench-dtype", "dtype", "precision of extraction; part of the cache key"),
    _choice("--sslbench-stored", "stored", "type that features are kept in"),
    _choice(
        "--sslbench-extraction",
        "extraction",
        "folded networks and JPEG within two grey levels of PIL, or networks as they are and PIL's own pixels",
    ),
    _Option(
        "--sslbench-decoded",
        "GiB of decoded pictures kept for further backbones and trainings; 0 for none",
        "GIB",
        default="16",
    ),
    _choice("--sslbench-bad-images", "bad_images", "fail on an unreadable image, or skip and count it"),
    _choice(
        "--sslbench-check-data",
        "check_data",
        "refuse datasets that differ from what is published, or run on what is there and say so in the record",
    ),
    _Option(
        "--sslbench-compat",
        "choices on which paper, official code and good practice differ (docs/references.md)",
        "NAME=VALUE[,NAME=VALUE]",
    ),
    _Option("--sslbench-rerun", "cases to run again although they have a record", choices=RERUN, default="missing"),
    _Option("--sslbench-baseline", "fail cases that are significantly worse than this baseline", "FILE[#BACKBONE]"),
    _Option("--sslbench-gate-level", "family-wise level of the regression gate", "P", default="0.05"),
    _Option(
        "--sslbench-gate-min-drop",
        "smallest drop, in the score's unit (points of percentages), that fails the gate",
        "POINTS",
        default="0",
    ),
    _Option(
        "--sslbench-pictures",
        "small pictures of the test data in the run's report, as `sslbench report` makes it; without it there are none",
        switch=True,
    ),
    _Option("--sslbench-engine", "run the cases on other machines: local, ray or slurm (docs/cluster.md)", "NAME"),
    _Option("--sslbench-engine-options", "what the engine is told, such as partition=gpu", "NAME=VALUE[,NAME=VALUE]"),
    _Option("--sslbench-save-baseline", "write this run's records as a baseline", "FILE"),
    _Option(
        "--sslbench-claims",
        "put the studies' claims to this run's records (run), another run, a baseline, or a study's own tables",
        "run|RUN|FILE|STUDY",
    ),
    _Option(
        "--sslbench-offline",
        "open no connection: only files, weights and repositories that are here (or HF_HUB_OFFLINE)",
        switch=True,
    ),
)
# With a value of their own, which pytest may take for a test path (sslbench.plugin.command_line).
FLAGS = tuple(option.flag for option in _OPTIONS if not option.switch)


def add_options(parser: pytest.Parser, ini: IniFile) -> None:
    """Declare every option and its ini twin."""
    group = parser.getgroup("sslbench", "transfer benchmark for vision backbones")
    for option in _OPTIONS:
        ini.declare(option.ini, option.help)
        kwargs: dict[str, Any] = {"choices": option.choices} if option.choices else {"metavar": option.metavar}
        if option.switch:
            kwargs = {"action": "store_true"}
        group.addoption(option.flag, default=None, help=f"{option.help} (ini: {option.ini})", **kwargs)


@dataclass(frozen=True)
class PluginOptions:
    """The options of one pytest session. None for backbones or tasks means: what the suite says."""

    suite: str
    backbones: tuple[str, ...] | None
    tasks: tuple[str, ...] | None
    shard: Shard | None
    settings: Settings
    rerun: str
    baseline: Path | None
    baseline_backbone: str | None
    gate_level: float
    gate_min_drop: float
    save_baseline: Path | None
    claims: str
    pictures: bool
    engine: str
    engine_options: tuple[str, ...]


def given(config: pytest.Config, flag: str) -> str:
    """The text of one option, from the command line or the ini file, without reading the others; empty where there is none."""
    return next(_Given(config, option).text for option in _OPTIONS if option.flag == flag)


def is_configured(config: pytest.Config) -> bool:
    """Whether the command line or the ini file has any option of sslbench, usable or not."""
    try:
        return any(_Given(config, option).value is not None for option in _OPTIONS)
    except pytest.UsageError:
        return True


def read_options(config: pytest.Config) -> PluginOptions:
    """Command line first, then environment (directories), then ini, then default.

    Raises pytest.UsageError for a value that cannot be used.
    """
    given = {option.ini.removeprefix("sslbench_"): _Given(config, option) for option in _OPTIONS}
    try:
        return _read(given)
    except SslbenchError as error:
        raise pytest.UsageError(str(error)) from error


def _read(given: dict[str, _Given]) -> PluginOptions:
    baseline, backbone = _baseline(given["baseline"].text)
    save = given["save_baseline"].text
    return PluginOptions(
        suite=given["suite"].text,
        backbones=tuple(given["backbones"].texts) or None,
        tasks=tuple(given["tasks"].texts) or None,
        shard=_shard(given),
        settings=Settings(
            cache_dir=given["cache"].directory("SSLBENCH_CACHE", default_cache_dir),
            data_dir=given["data"].directory("SSLBENCH_DATA", default_data_dir),
            results_dir=given["results"].directory("SSLBENCH_RESULTS", default_results_dir),
            device=given["device"].text,
            batch_size=given["batch_size"].count,
            **{name: given[name].choice for name in CHOICES},
            decoded_gib=given["decoded"].amount,
            compat=_compat(given["compat"]),
            offline=given["offline"].switched or default_offline(),
        ),
        rerun=given["rerun"].choice,
        baseline=baseline,
        baseline_backbone=backbone,
        gate_level=given["gate_level"].number,
        gate_min_drop=given["gate_min_drop"].number,
        save_baseline=expand(save) if save else None,
        claims=given["claims"].text or "run",
        pictures=given["pictures"].switched,
        engine=given["engine"].text,
        engine_options=_engine_options(given),
    )


class _Given:
    """What was given for an option, and where; each property reads it as another kind of value."""

    def __init__(self, config: pytest.Config, option: _Option) -> None:
        self._option = option
        self._root = config.rootpath
        self.value: Value = config.getoption(option.flag)
        self.on_command_line = self.value is not None
        if not self.on_command_line:
            self.value = IniFile.of(config).read(config, option.ini)
        self.label = option.flag if self.on_command_line else f"{option.ini} in the ini file"

    @property
    def texts(self) -> list[str]:
        """Names or globs: a list, lines, or text with commas."""
        if isinstance(self.value, list):
            return split_patterns(map(str, self.value))
        return split_patterns(self.text)

    @property
    def text(self) -> str:
        if isinstance(self.value, list):
            raise SettingsError(f"{self.label} takes one value, got the list {self.value}")
        return self._option.default if self.value in (None, "") else str(self.value).strip()

    @property
    def choice(self) -> str:
        assert self._option.choices is not None
        check_choice(self.label, self.text, self._option.choices)
        return self.text

    @property
    def number(self) -> float:
        try:
            return float(self.text)
        except ValueError as error:
            raise SettingsError(f"{self.label} takes a number, got {self.text!r}") from error

    @property
    def amount(self) -> float:
        check_number(self.label, self.number, 0)
        return self.number

    @property
    def count(self) -> int | None:
        if not self.text:
            return None
        number = self.number
        check_number(self.label, int(number) if number.is_integer() else number, 1, whole=True)
        return int(number)

    @property
    def switched(self) -> bool:
        if isinstance(self.value, bool):
            return self.value
        return bool(self.text) and is_yes(self.label, self.text)

    def directory(self, variable: str, default: Callable[[], Path]) -> Path | str:
        """The command line's, the environment's, the ini file's or the default one; text for a URL."""
        if not self.text or (os.environ.get(variable) and not self.on_command_line):
            return url_in(variable) or default()
        if is_url(self.text):
            return self.text
        # A relative directory in the ini file belongs to the project, wherever pytest is called from.
        path = expand(self.text)
        return path if self.on_command_line else self._root / path


def _engine_options(given: Mapping[str, _Given]) -> tuple[str, ...]:
    options = given["engine_options"]
    # In an ini file they may wait for a session that names an engine.
    if options.on_command_line and options.texts and not given["engine"].text:
        raise SettingsError(
            f"{options.label}={options.text} without --sslbench-engine would be without effect: name an engine, or leave it out"
        )
    return tuple(options.texts)


def _baseline(text: str) -> tuple[Path | None, str | None]:
    if not text:
        return None, None
    path, _, backbone = text.rpartition("#")
    # A file whose own name has a # is told by being there.
    if not path or expand(text).exists():
        return expand(text), None
    return expand(path), backbone or None


def _shard(given: Mapping[str, _Given]) -> Shard | None:
    text = given["shard"].text
    if not text:
        return None
    shard = parse_shard(text, given["shard"].label)
    baseline, save = given["baseline"].text, given["save_baseline"].text
    merge = "Leave it out of the shards, then run `sslbench merge DIR... --into RUN` on their results"
    if baseline:
        raise SettingsError(
            f"--sslbench-shard and --sslbench-baseline: the gate adjusts over all cases, and a shard has a part of them. {merge} "
            f"and `sslbench compare RUN {baseline} --gate`"
        )
    if save:
        raise SettingsError(
            f"--sslbench-shard and --sslbench-save-baseline: a shard has a part of the cases. {merge} with --save-baseline {save}"
        )
    return shard


def _compat(given: _Given) -> dict[str, str]:
    choices: dict[str, str] = {}
    for item in given.texts:
        name, equals, value = (part.strip() for part in item.partition("="))
        if not (name and equals and value):
            raise SettingsError(f"--sslbench-compat takes NAME=VALUE[,NAME=VALUE], got {item!r}")
        if choices.setdefault(name, value) != value:
            raise SettingsError(f"--sslbench-compat: {name} is given twice, as {choices[name]} and as {value}")
    try:
        parse_compat(choices)
    except SslbenchError as error:
        raise SettingsError(f"--sslbench-compat: {error}") from error
    return choices
