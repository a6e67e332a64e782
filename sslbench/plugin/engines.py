"""Cases on other machines: what the session asks of an engine, and how an item gets its record from there."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator, Sequence, Set
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from sslbench import errors
from sslbench.engine.base import engine_spec
from sslbench.engine.claim import claim
from sslbench.engine.controller import Controller, Planned, Progress
from sslbench.engine.machine_check import MachineCheck
from sslbench.engine.placing import place
from sslbench.engine.settings import read_engine_settings
from sslbench.engine.shipping import Project
from sslbench.engine.worker import Failure, Order
from sslbench.errors import CacheWarning, EngineError, SettingsError, SslbenchError
from sslbench.names import printable
from sslbench.plugin.command_line import not_with_xdist
from sslbench.results.record import Record, case_name

if TYPE_CHECKING:
    from sslbench.config import Settings
    from sslbench.plugin.state import SessionState
    from sslbench.runner import Runner
    from sslbench.tasks import Task

_TELL_SECONDS = 30.0


def _project(config: pytest.Config, cases: Sequence[tuple[str, Task]]) -> Project:
    """What the workers have to load so that the cases' names mean there what they mean here."""
    plugins = config.pluginmanager.list_name_plugin()
    files = [Path(file) for _, plugin in plugins if (file := getattr(plugin, "__file__", None))]
    return Project.of(
        [file for file in files if file.name == "conftest.py"],
        config.rootpath,
        config.invocation_params.dir,
        names=[name for backbone, task in cases for name in (backbone, task.dataset)],
        plugins=config.option.plugins,
    )


def _elsewhere(settings: Settings, device: str) -> Settings:
    """With whole paths: a worker may stand in another folder."""
    folders = {name: getattr(settings, name).absolute() for name in ("cache_dir", "data_dir", "results_dir")}
    return replace(settings, **folders, device=device)


class EngineSession:
    """The engine of one pytest session. Made before the first case runs; every case is submitted at once.

    Raises SslbenchError for what cannot be, before anything is submitted.
    """

    def __init__(self, state: SessionState, cases: Sequence[tuple[str, Task]]) -> None:
        self._state, self._told = state, time.monotonic()
        options = state.options
        spec = engine_spec(options.engine)
        if hasattr(state.config, "workerinput"):
            raise SettingsError(not_with_xdist(spec.name))
        settings = read_engine_settings(spec, options.engine_options)
        device = options.settings.device
        if device.startswith("cuda:"):
            raise SettingsError(
                f"--sslbench-device={device} names one GPU of a machine, and an engine chooses among many; say cuda"
            )
        urls = (options.settings.shared_cache, options.settings.shared_results)
        if spec.elsewhere and any(url.startswith("memory:") for url in urls):
            raise SettingsError(
                f"memory:// is the memory of one process, and the engine {spec.name} has others; name a store"
            )
        run = state.run.directory.absolute()
        with ExitStack() as open_things:
            check_claim = open_things.enter_context(claim(state.run))
            engine = spec.start(settings.own, run)
            open_things.callback(engine.close)
            if device == "cuda" and not engine.has_gpus:
                raise EngineError(f"--sslbench-device=cuda: the engine {spec.name} has no GPU to give; say cpu or auto")
            self.has_gpus = device != "cpu" and engine.has_gpus
            elsewhere = _elsewhere(options.settings, "cuda" if self.has_gpus else "cpu")
            common = run if settings.shared and not elsewhere.shared_results else None
            check = open_things.enter_context(MachineCheck.of(elsewhere, common, settings.shared, settings.versions))
            template = Order(
                "",
                cases[0][1],
                elsewhere,
                run=common,
                rerun=options.rerun,
                project=_project(state.config, cases),
                machine_check=check,
            )
            with self._damage_told():
                records = state.run.records()
            planned = place(cases, template, settings, gpus=self.has_gpus, records=records)
            self._planned = {case.name: case for case in planned}
            self._left_out: list[str] = []
            self._controller = Controller(engine, state.run, self._tell, self._warn, check_claim)
            open_things.callback(self._controller.close)
            self._controller.check(planned)
            self._records: dict[str, Record] = {}
            self._given: set[str] = set()
            # By case: the machine that made its record.
            self._ran: dict[str, str] = {}
            self._begin({record.case for record in records})
            self._open = open_things.pop_all()

    def _begin(self, recorded: Set[str]) -> None:
        """Those without a record are on their way before those with one are looked at, which takes loading them."""
        again = self._state.options.rerun == "all"
        self._controller.submit([case for case in self._planned.values() if again or case.name not in recorded])
        unsound = []
        for planned in self._planned.values():
            if self._controller.has(planned.name):
                continue
            record = self._sound(planned)
            if record is None:
                unsound.append(planned)
            else:
                self._records[planned.name] = record
        self._controller.submit(unsound)

    @contextmanager
    def _damage_told(self) -> Iterator[None]:
        """What is wrong with records is told below the table: where warnings are errors, they would end the session here."""
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always", CacheWarning)
            yield
        self._state.summary += [
            text for text in map(str, (one.message for one in told)) if text not in self._state.summary
        ]

    def _sound(self, planned: Planned) -> Record | None:
        from sslbench.runner import Case, resumed_record

        try:
            case = self._runner.prepare(Case(planned.order.backbone, planned.order.task))
        except (Exception, SystemExit, pytest.skip.Exception, pytest.fail.Exception):  # noqa: BLE001 a user's code may raise anything
            # What is missing here may be there, and otherwise a worker tells.
            return None
        return resumed_record(case, planned.order.rerun)

    @cached_property
    def _runner(self) -> Runner:
        """Who looks at records. A session that stands on a machine without a GPU may ask for cases on one."""
        from sslbench.runner import Runner

        settings = self._state.options.settings
        return (
            Runner(replace(settings, device="cpu"), self._state.run)
            if settings.device == "cuda"
            else self._state.runner
        )

    def record(self, backbone: str, task: Task) -> Record:
        """The record of a case, waited for. What went wrong with it is raised here as it would have been by running it."""
        name = case_name(backbone, task.id)
        if name in self._records:
            return self._records[name]
        if name in self._given:
            # Asked for again by whoever runs failed tests again.
            self._controller.submit([self._planned[name]])
        self._given.add(name)
        try:
            answer = self._controller.wait_for(name)
        except EngineError as error:
            self._state.lost = str(error)
            pytest.exit(f"sslbench: {error}", returncode=pytest.ExitCode.USAGE_ERROR)
        for category, text in answer.warnings:
            warnings.warn(text, category, stacklevel=2)
        if answer.failure is not None:
            self._raise(answer.failure, backbone, answer.host)
        assert answer.record is not None
        if not answer.resumed:
            self._ran[name] = answer.host
        return Record.from_json(dict(answer.record), where=name)

    def _raise(self, failure: Failure, backbone: str, host: str) -> None:
        if failure.kind == "not-installed" and backbone not in (self._state.options.backbones or ()):
            pytest.skip(failure.message)
        if failure.kind == "skip":
            pytest.skip(failure.message)
        known = getattr(errors, failure.error, None)
        # By its own name, without its module, which need not be here.
        kind: Any = known if isinstance(known, type) else type(failure.error, (SslbenchError,), {})
        error = kind(f"{failure.message} (on {host})" if host else failure.message)
        if failure.text:
            error.add_note(failure.text)
        raise error

    def _tell(self, progress: Progress) -> None:
        if self._state.config.get_verbosity() < 0 or time.monotonic() - self._told < _TELL_SECONDS:
            return
        self._told = time.monotonic()
        trials = f", {progress.trials} of its jobs are trials" if progress.trials else ""
        self._write(f"{progress.done} of {progress.cases} cases done, {progress.running} jobs running{trials}")

    def _warn(self, place: str, why: str) -> None:
        """At once: the session may last for days without the machine."""
        self._left_out.append(place)
        self._write(f"{place} is left out: {why}")

    def _write(self, text: str) -> None:
        plugins = self._state.config.pluginmanager
        # Neither is there under -p no:NAME.
        terminal: Any = plugins.get_plugin("terminalreporter")
        capture: Any = plugins.get_plugin("capturemanager")
        if terminal is None:
            return
        with capture.global_and_fixture_disabled() if capture is not None else nullcontext():
            terminal.ensure_newline()
            terminal.write_line(printable(f"sslbench: {text}"))

    def close(self) -> None:
        """Take in what has ended and stop what runs."""
        if self._ran:
            machines, self._ran = len(set(self._ran.values())), {}
            self._state.summary.append(
                f"cases ran on {machines} machine{'s' if machines > 1 else ''} by the engine {self._state.options.engine}"
            )
        if self._left_out:
            self._state.summary.append(f"left out, for what is told above: {', '.join(self._left_out)}")
            self._left_out.clear()
        self._open.close()
