"""Projects are collected by a real pytest session, moved away, and set up in a process that sees nothing of them."""

from __future__ import annotations

import json
import os
import pickle
import platform
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import sslbench
from sslbench.engine.local_code import SearchPath
from sslbench.engine.shipping import Project

HOST = platform.node()
REPOSITORY = str(Path(sslbench.__file__).parents[1])

# A plugin of the session, which writes down the project and what its names mean there.
COLLECTOR = """
import json, pickle
from pathlib import Path

def pytest_collection_finish(session):
    from sslbench.backbones.registry import FACTORIES
    from sslbench.engine.shipping import Project
    config = session.config
    conftests = [Path(name) for name, _ in config.pluginmanager.list_name_plugin() if Path(name).name == "conftest.py"]
    names = ["python:factory:make?pool=max", "pixels", "folder:pictures"]
    project = Project.of(conftests, config.rootpath, config.invocation_params.dir, names=names, plugins=config.option.plugins)
    project.set_up()
    here = Path(__file__).parent
    (here / "project.pickle").write_bytes(pickle.dumps(project))
    (here / "known.json").write_text(json.dumps({name: [FACTORIES[name].__module__, FACTORIES[name]()] for name in FACTORIES}))
"""

LOAD = """
import json, os, pickle, sys
with open(sys.argv[1], "rb") as file:
    project = pickle.load(file)
"""
SET_UP = """
project.set_up()
project.set_up()
from sslbench.backbones.registry import FACTORIES
known = {name: [FACTORIES[name].__module__, FACTORIES[name]()] for name in FACTORIES}
"""


def lay(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
    return root


def collect(root: Path, *arguments: str) -> tuple[Path, dict[str, list[str]]]:
    """A session of pytest in `root`; gives the file of the project and what its names meant."""
    beside = root.parent / f"{root.name}-session"
    beside.mkdir()
    (beside / "sslbench_test_collector.py").write_text(COLLECTOR)
    options = ("--collect-only", "-q", "-p", "sslbench_test_collector", "-p", "no:cacheprovider")
    command = [sys.executable, "-m", "pytest", *options, *arguments]
    run = subprocess.run(command, cwd=root, env=environment(beside), capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    known: dict[str, list[str]] = json.loads((beside / "known.json").read_text())
    return beside / "project.pickle", known


def environment(*paths: Path, **more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "COV"))}
    return (
        kept
        | {
            "PYTHONPATH": os.pathsep.join((*map(str, paths), REPOSITORY)),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        }
        | more
    )


def work(pickled: Path, code: str, tmp_path: Path, before: str = "") -> subprocess.CompletedProcess[str]:
    """A worker's process, with a folder for temporary files of its own and another working directory."""
    for name in ("elsewhere", "temporary"):
        (tmp_path / name).mkdir(exist_ok=True)
    command = [sys.executable, "-c", LOAD + before + SET_UP + textwrap.dedent(code), str(pickled)]
    variables = environment(TMPDIR=str(tmp_path / "temporary"))
    return subprocess.run(command, cwd=tmp_path / "elsewhere", env=variables, capture_output=True, text=True)


def answer(pickled: Path, code: str, tmp_path: Path) -> object:
    run = work(pickled, f"{textwrap.dedent(code)}\nprint(json.dumps(told))", tmp_path)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def problem(pickled: Path, tmp_path: Path) -> str:
    """The one EngineError of a worker that cannot load the project."""
    run = work(pickled, "", tmp_path)
    last = run.stderr.strip().splitlines()[-1]
    assert run.returncode == 1 and last.startswith("sslbench.errors.EngineError: "), run.stderr
    return last.removeprefix("sslbench.errors.EngineError: ")


RICH = {
    "conftest.py": """
        import sslbench
        import helpers
        pytest_plugins = ["extra_plugin"]
        sslbench.register_backbone("root", helpers.build)
        """,
    "extra_plugin.py": """
        import sslbench
        from src.wheels import turn
        sslbench.register_backbone("plugin", turn)
        """,
    "src/wheels.py": "def turn(): return 'turned'",
    "helpers.py": """
        def build():
            import late
            from importlib import import_module
            from later import deep
            return late.TEXT + deep.TEXT + import_module("later.dynamic.most").TEXT
        """,
    "late.py": "TEXT = 'late'",
    "later/__init__.py": "",
    "later/dynamic/__init__.py": "",
    "later/dynamic/most.py": "TEXT = ', by name'",
    "later/pictures/none.py": "",
    "later/data.txt": "travels not",
    "later/test_later.py": "",
    "later/deep.py": "from .deeper import TEXT",
    "later/deeper.py": "TEXT = ' and later'",
    "a/conftest.py": """
        import pytest, sslbench, shared
        @pytest.fixture
        def something(): return 1
        def pytest_configure(config): sslbench.register_backbone("hooked", a)
        @sslbench.register_backbone("a")
        def a(): return 'a with ' + shared.TEXT
        """,
    "a/shared.py": "TEXT = 'the first'",
    "a/test_a.py": """
        import sslbench
        def test_a(): pass
        """,
    "b/conftest.py": """
        import sslbench, shared
        @sslbench.register_backbone("b")
        def b(): return 'b with ' + shared.TEXT
        """,
    "b/shared.py": "TEXT = 'the second, which nobody gets'",
    "b/test_b.py": "def test_b(): pass",
    "pkg/__init__.py": "",
    "pkg/nets.py": "TEXT = 'net'",
    "pkg/sub/__init__.py": "",
    "pkg/sub/near.py": "TEXT = 'near'",
    "pkg/sub/test_tools.py": "def tool(): return 'tool'",
    "pkg/sub/conftest.py": """
        import sslbench
        from ..nets import TEXT
        from . import near
        from .test_tools import tool
        @sslbench.register_backbone("pkg")
        def pkg(): return [TEXT, near.TEXT, tool()]
        """,
    "pkg/sub/test_pkg.py": "def test_pkg(): pass",
    "factory.py": """
        from neighbour import TEXT
        class Net: pass
        def make(): return TEXT
        """,
    "neighbour.py": "TEXT = 'neighbour'",
    "unused.py": "raise AssertionError('nobody imports this')",
}
MEANT = {
    "root": ["helpers", "late and later, by name"],
    "plugin": ["src.wheels", "turned"],
    "a": ["conftest", "a with the first"],
    "b": ["conftest", "b with the first"],
    "pkg": ["pkg.sub.conftest", ["net", "near", "tool"]],
}


@pytest.fixture(scope="module")
def rich(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The file of a project, and its folder."""
    root = lay(tmp_path_factory.mktemp("rich") / "project", RICH)
    pickled, known = collect(root, "a", "b", "pkg")
    # No worker has a session of pytest, so that what hooks register is not known there.
    assert known == MEANT | {"hooked": MEANT["a"]}
    return pickled, root


def test_a_project_that_was_moved_away_means_the_same(rich, tmp_path):
    pickled, root = rich
    moved = root.rename(root.with_name("moved"))
    try:
        told = answer(
            pickled,
            """
            import factory
            told = [known, factory.make(), factory.__file__, os.getcwd()]
            """,
            tmp_path,
        )
    finally:
        moved.rename(root)
    known, made, file, folder = told
    assert known == MEANT
    assert made == "neighbour"
    private = str(tmp_path / "temporary" / "sslbench-project-")
    assert file.startswith(private) and file.endswith(f"{root}/factory.py")
    assert folder.startswith(private) and folder.endswith(str(root))
    assert list((tmp_path / "temporary").iterdir()) == []


def test_what_travels_is_what_is_imported(rich):
    pickled, root = rich
    project = pickle.loads(pickled.read_bytes())
    inside = {str(Path(file.path).relative_to(root)) for file in project.files if Path(file.path).is_relative_to(root)}
    tests = {"a/test_a.py", "b/test_b.py", "pkg/sub/test_pkg.py", "later/test_later.py"}
    assert inside == set(RICH) - tests - {"unused.py", "b/shared.py", "later/data.txt", "later/pictures/none.py"}
    assert {file.path for file in project.files} - {str(root / name) for name in inside} == {
        str(pickled.parent / "sslbench_test_collector.py")
    }
    assert len(pickled.read_bytes()) < 20_000


def test_the_same_files_are_used_in_place(rich, tmp_path):
    pickled, root = rich
    told = answer(pickled, "import helpers; told = [known, helpers.__file__, os.getcwd()]", tmp_path)
    assert told == [MEANT, str(root / "helpers.py"), str(root)]


def test_a_file_that_was_changed_since_is_not_used(rich, tmp_path):
    pickled, root = rich
    (root / "later" / "deeper.py").write_text("TEXT = ' and changed'")
    try:
        code = """
            import later
            file = later.__path__[0] + "/data.txt"
            told = [known, file, open(file).read(), os.getcwd()]
            """
        known, path, text, folder = answer(pickled, code, tmp_path)
    finally:
        (root / "later" / "deeper.py").write_text(RICH["later/deeper.py"])
    assert known == MEANT
    # Code reads what lies beside it, and relative names are those of the real folder.
    assert path.startswith(str(tmp_path / "temporary")) and text == "travels not"
    assert folder == str(root)


def test_the_import_mode_importlib_gives_the_same_names(tmp_path):
    files = {name: text for name, text in RICH.items() if not name.startswith("a/")}
    files["b/conftest.py"] = """
        import sslbench
        @sslbench.register_backbone("b")
        def b(): return 'b'
        """
    root = lay(tmp_path / "project", files)
    pickled, known = collect(root, "--import-mode=importlib", "b", "pkg")
    assert known["b"] == ["b.conftest", "b"]
    root.rename(tmp_path / "moved")
    assert answer(pickled, "told = known", tmp_path) == known


def project_of(root: Path, files: dict[str, str], beside: Path) -> Path:
    """The file of a project whose one conftest.py was loaded elsewhere."""
    lay(root, files)
    pickled = beside / f"{root.name}.pickle"
    pickled.write_bytes(pickle.dumps(Project.of([root / "conftest.py"], root, root)))
    return pickled


def test_what_is_installed_here_alone_is_told_once_and_with_its_place(tmp_path, monkeypatch):
    installed = lay(tmp_path / "site-packages", {"onlyhere.py": ""})
    monkeypatch.syspath_prepend(str(installed))
    root = tmp_path / "project"
    files = {"conftest.py": "from pathlib import Path\nimport nets", "nets.py": "\n\nimport onlyhere"}
    pickled = project_of(root, files, tmp_path)
    root.rename(tmp_path / "moved")
    told = (
        f"{root}/nets.py:3 cannot be loaded on {HOST}: there is no module 'onlyhere'. Install the package that has it on {HOST}; "
        "a module of your own travels if an import statement names it and it lies below the root directory or on sys.path where "
        "pytest was started"
    )
    assert problem(pickled, tmp_path) == told
    again = "try:\n    project.set_up()\nexcept Exception as error:\n    pass"
    assert told in work(pickled, "", tmp_path, before=again).stderr


def test_a_data_file_that_is_missing_is_told(tmp_path):
    root = tmp_path / "project"
    code = "from pathlib import Path\n\nTEXT = (Path(__file__).parent / 'classes.txt').read_text()"
    pickled = project_of(root, {"conftest.py": code, "classes.txt": "one"}, tmp_path)
    root.rename(tmp_path / "moved")
    assert problem(pickled, tmp_path) == (
        f"{root}/conftest.py:3 cannot be loaded on {HOST}: there is no file {root}/classes.txt. Code travels, other files do "
        f"not: put the project on a shared disk, or the file at the same path on {HOST}"
    )


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("raise ValueError('not here')", "ValueError: not here"),
        ("import pytest; pytest.skip('not here', allow_module_level=True)", "Skipped: not here"),
        ("import sys; sys.exit('not here')", "SystemExit: not here"),
    ],
)
def test_what_a_conftest_raises_there_is_told(tmp_path, line, told):
    root = tmp_path / "project"
    pickled = project_of(root, {"conftest.py": line}, tmp_path)
    assert problem(pickled, tmp_path) == (
        f"{root}/conftest.py:1 cannot be loaded on {HOST}, though it could be where pytest was started: {told}"
    )


def test_code_too_large_to_travel_has_to_be_there(tmp_path):
    root = tmp_path / "project"
    pickled = project_of(root, {"conftest.py": "import large", "large.py": "#" * (9 * 2**20)}, tmp_path)
    assert pickle.loads(pickled.read_bytes()).content is None
    assert answer(pickled, "import large; told = large.__file__", tmp_path) == str(root / "large.py")
    root.rename(tmp_path / "moved")
    told = re.sub(r"\(2 of \d+ ", "(2 of N ", problem(pickled, tmp_path))
    # Whatever else is on the path of these tests travels too.
    told = re.sub(r"9\.\d MiB of code", "9.0 MiB of code", told)
    assert told.partition("; the largest: ")[0] == (
        f"{HOST} has not the same {root}/conftest.py (2 of N files of the project differ or are missing), and 9.0 MiB of code "
        "are too much to travel (at most 8 MiB)"
    )
    assert told.partition("; the largest: ")[2].startswith(f"{root}/large.py (9.0 MiB), ")
    assert told.endswith("Put it on a shared disk or install it as a package on the workers")


def test_a_process_takes_one_project(tmp_path):
    one, two = (project_of(tmp_path / name, {"conftest.py": "import sslbench"}, tmp_path) for name in ("one", "two"))
    run = work(one, f"pickle.load(open({str(two)!r}, 'rb')).set_up()", tmp_path)
    assert "this process has loaded another project already; each project wants processes of its own" in run.stderr


def test_a_copy_left_by_a_killed_process_is_removed_and_one_in_use_is_not(rich, tmp_path):
    pickled, root = rich
    (root / "late.py").write_text("TEXT = 'changed'")
    try:
        work(pickled, "os._exit(1)", tmp_path)
        (left,) = (tmp_path / "temporary").iterdir()
        other = LOAD + SET_UP + "print(*os.listdir(os.environ['TMPDIR']))"
        code = f"""
            import subprocess
            run = subprocess.run([sys.executable, "-c", {other!r}, sys.argv[1]], capture_output=True, text=True, check=True)
            told = [sorted(os.listdir(os.environ["TMPDIR"])), run.stdout.split()]
            """
        now, during = answer(pickled, code, tmp_path)
    finally:
        (root / "late.py").write_text(RICH["late.py"])
    assert left.name not in during and len(during) == 2
    assert len(now) == 1 and now[0] in during
    assert list((tmp_path / "temporary").iterdir()) == []


def test_the_search_path_keeps_its_order_around_the_installed(monkeypatch):
    installed = next(entry for entry in sys.path if "site-packages" in entry)
    stdlib = str(Path(os.__file__).parent)
    scripts = str(Path(sys.executable).parent)
    monkeypatch.setattr(sys, "path", [scripts, "/x/tests", "/x/../x/src", stdlib, installed, "/y", "/x/tests"])
    assert SearchPath.here() == SearchPath(("/x/tests", "/x/src"), ("/y",))
