"""Names are known where their conftest.py is, and told to be unknown when all is collected; markers say which protocol."""

from __future__ import annotations

import pytest

from tests.plugin.test_matrix import refused

CASE = """
import pytest

@pytest.mark.sslbench(protocol="knn")
def test_knn(sslbench_record): pass
"""


@pytest.fixture
def deep(project):
    """Cases and their names below evaluation/transfer, other tests below unit, and cases without names below evaluation/a."""
    conftest = project.path / "conftest.py"
    for name in ("evaluation/transfer", "evaluation/a", "unit"):
        (project.path / name).mkdir(parents=True)
    (project.path / "evaluation/transfer/conftest.py").write_text(conftest.read_text())
    conftest.unlink()
    (project.path / "test_bench.py").unlink()
    (project.path / "evaluation/transfer/test_transfer.py").write_text(CASE)
    (project.path / "evaluation/a/test_a.py").write_text(CASE)
    (project.path / "unit/test_unit.py").write_text("def test_one(): pass")
    return project


@pytest.mark.parametrize(
    "arguments", [["evaluation/transfer"], ["evaluation"], [], ["evaluation/a", "evaluation/transfer"]], ids=str
)
@pytest.mark.parametrize("name", ["tiny", "t[i]ny"], ids=["name", "glob"])
def test_a_name_of_a_deeper_conftest(deep, arguments, name):
    # evaluation/a is collected first and knows neither name nor data set: it has no case then.
    result = deep.run(*arguments, f"--sslbench-backbones={name}", "--sslbench-tasks=knn/pair")
    assert result.ret == 0
    assert "test_transfer.py" in result.stdout.str()
    assert set(deep.records()) == {"tiny|knn/pair"}


def test_a_name_of_a_deeper_conftest_under_xdist(deep):
    pytest.importorskip("xdist")
    result = deep.run("-n", "2", "--sslbench-backbones=tiny,blurred", "--sslbench-tasks=knn/pair,knn/digits")
    result.assert_outcomes(passed=5)
    result.stdout.fnmatch_lines(["*sslbench chosen tasks*", "records, tables and report: *results/chosen"])


def test_tests_without_cases_do_not_look_at_names(deep):
    deep.ini(sslbench_backbones="tiny", sslbench_suite="nothing")
    deep.run("unit").assert_outcomes(passed=1)
    deep.run("unit", "--sslbench-backbones=lost").assert_outcomes(passed=1)
    assert not (deep.path / "results").exists()


def test_a_name_that_is_known_nowhere_is_told_before_anything_runs(deep):
    (deep.path / "evaluation/a/test_a.py").write_text("def test_first(): open('ran', 'w')\n" + CASE)
    text = refused(deep.run("--sslbench-backbones=tiny,blured", "--sslbench-tasks=knn/pair"))
    assert "ERROR: unknown backbone 'blured'; nearest: blurred" in text
    assert not (deep.path / "ran").exists()
    assert not (deep.path / "results").exists()


def test_the_same_under_xdist(deep):
    pytest.importorskip("xdist")
    (deep.path / "unit/test_unit.py").write_text("def test_first(): open('ran', 'w')\n")
    result = deep.run("-n", "1", "--sslbench-backbones=tiny,blured", "--sslbench-tasks=knn/pair")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "ERROR: unknown backbone 'blured'; nearest: blurred" in result.stderr.str()
    assert "Traceback" not in result.stdout.str() + result.stderr.str()
    assert not (deep.path / "ran").exists()


@pytest.mark.parametrize("how", ["-n1", ""])
def test_a_directory_that_cannot_be_written_is_told_before_anything_runs(deep, how):
    if how:
        pytest.importorskip("xdist")
    (deep.path / "unit/test_unit.py").write_text("def test_first(): open('ran', 'w')\n")
    (deep.path / "blocked").write_text("")
    given = ["--sslbench-backbones=tiny", "--sslbench-tasks=knn/pair", "--sslbench-results=blocked"]
    result = deep.run(*given, *([how] if how else []))
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "ERROR: the results directory blocked/chosen cannot be written" in result.stderr.str()
    assert not (deep.path / "ran").exists()


@pytest.mark.parametrize(
    ("mark", "said"),
    [
        ("", "test_bench.py::test_it: mark it @pytest.mark.sslbench(protocol=...)"),
        ("@pytest.mark.sslbench", 'takes one protocol, such as @pytest.mark.sslbench(protocol="knn"), got nothing'),
        ("@pytest.mark.sslbench()", "takes one protocol"),
        ("@pytest.mark.sslbench(3)", "got 3"),
        ("@pytest.mark.sslbench(protocol=None)", "got None"),
        ("@pytest.mark.sslbench(protocol=['knn'])", "got ['knn']"),
        ("@pytest.mark.sslbench('knn', 'linear')", "got 'knn', 'linear'"),
        ("@pytest.mark.sslbench('knn', protocol='linear')", "got 'knn', 'linear'"),
        ("@pytest.mark.sslbench(protocl='knn')", "has no argument protocl; expected protocol=..."),
        ("@pytest.mark.sslbench(protocol='fewshots')", "unknown protocol 'fewshots'; nearest: fewshot"),
        (
            "@pytest.mark.sslbench(protocol='k*m')",
            "no protocol matches 'k*m'; known: depth, detection, features, fewshot, finetune, inversion, knn, linear, "
            "normals, occlusion, segmentation",
        ),
    ],
)
@pytest.mark.parametrize(
    "arguments", [(), ("--strict-markers", "-o", "empty_parameter_set_mark=fail_at_collect")], ids=["", "strict"]
)
def test_a_marker_that_names_no_protocol(project, mark, said, arguments):
    project.tests(f"import pytest\n{mark}\ndef test_it(sslbench_record): pass\ndef test_other(): pass")
    result = project.run("--sslbench-backbones=tiny", *arguments)
    text = refused(result)
    assert "ERROR: test_bench.py::test_it: " in text
    assert said in text


def test_a_positional_protocol_and_a_marker_of_the_class(project):
    project.tests(
        'import pytest\n@pytest.mark.sslbench("k*")\nclass TestAll:\n    def test_it(self, sslbench_record): pass\n'
    )
    project.run("--sslbench-backbones=tiny", "--sslbench-tasks=knn/pair").assert_outcomes(passed=1)


def test_a_test_without_a_case_is_no_error(project):
    project.tests(CASE)
    given = (
        "--sslbench-backbones=tiny",
        "--sslbench-tasks=fewshot/digits/5shot",
        "-o",
        "empty_parameter_set_mark=fail_at_collect",
    )
    result = project.run(*given)
    result.assert_outcomes(deselected=1)
    assert result.ret == pytest.ExitCode.NO_TESTS_COLLECTED
