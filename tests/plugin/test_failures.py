"""A case that cannot run fails with one line that names it, whatever the user's code raised; -vv shows the traceback."""

from __future__ import annotations

import pytest

BACKBONES = """
def value(): raise ValueError("no weights\\n  in this place")
def imports(): import a_module_that_is_not_there
def key(): return {}["weights"]
def asserts(): assert 1 == 2, "sizes differ"
def leaves(): raise SystemExit(3)
def nothing(): raise RuntimeError
def encode(): return "\\udcff.png".encode()
def surrogate(): raise OSError(2, "No such file", "\\udcff.png")
def long(): raise ValueError("word " * 1000)
def skips():
    import pytest
    pytest.skip("not today")

class Breaks(Tiny):
    def forward(self, images):
        raise RuntimeError("shapes cannot be multiplied")

for made in (value, imports, key, asserts, leaves, nothing, encode, surrogate, long, skips, Breaks):
    sslbench.register_backbone(made.__name__.lower(), made)

def broken(settings): return {}["train"]
sslbench.register_dataset(DatasetSpec("broken", broken, 2, "", "", "", protocols=("knn",)))
"""


@pytest.fixture
def broken(project):
    text = project.path.joinpath("conftest.py").read_text()
    project.conftest(text + BACKBONES)
    # Where each function is, for the messages.
    project.line = {
        name: number
        for number, line in enumerate((text + BACKBONES).splitlines(), 1)
        for name in [line.removeprefix("def ").partition("(")[0]]
        if line.startswith("def ")
    }
    return project


@pytest.mark.parametrize(
    ("backbone", "task", "said", "function"),
    [
        ("value", "pair", "ValueError: no weights in this place", "value"),
        ("imports", "pair", "ModuleNotFoundError: No module named 'a_module_that_is_not_there'", "imports"),
        ("key", "pair", "KeyError: 'weights'", "key"),
        ("asserts", "pair", "AssertionError: sizes differ", "asserts"),
        ("leaves", "pair", "RuntimeError: sys.exit(3) was called", "leaves"),
        ("nothing", "pair", "RuntimeError", "nothing"),
        ("encode", "pair", "UnicodeEncodeError: 'utf-8' codec can't encode character '\\udcff'", "encode"),
        ("surrogate", "pair", "FileNotFoundError: [Errno 2] No such file: '\\udcff.png'", "surrogate"),
        ("tiny", "broken", "KeyError: 'train'", "broken"),
    ],
)
def test_what_the_users_code_raises_is_one_line(broken, backbone, task, said, function):
    result = broken.run(f"--sslbench-backbones={backbone},blurred", f"--sslbench-tasks=knn/{task},knn/digits")
    text = result.stdout.str()
    told = [line for line in result.outlines if line.startswith(f"{backbone}|knn/{task}: ")]
    assert len(told) == 1
    assert told[0].startswith(f"{backbone}|knn/{task}: {said}")
    assert f"conftest.py:{broken.line[function]}; -vv shows more)" in told[0]
    assert "Traceback" not in text
    assert f"    def {function}(" not in text
    # The short summary tells it too, and other cases run.
    assert f"test_knn[{backbone}-{task}] - Failed: {backbone}|knn/{task}: "[:70] in text
    assert "blurred|knn/digits" in broken.records()


def test_the_traceback_is_shown_when_asked_for(broken):
    result = broken.run("-vv", "--sslbench-backbones=value", "--sslbench-tasks=knn/pair")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(['> *raise ValueError("no weights*', "E *ValueError: no weights"])
    assert "runner.py" in result.stdout.str()


def test_a_network_that_breaks_is_told_with_its_place(broken):
    result = broken.run("--sslbench-backbones=breaks", "--sslbench-tasks=knn/pair")
    result.assert_outcomes(errors=1)
    place = "*/conftest.py:*; -vv shows more)"
    result.stdout.fnmatch_lines([f"breaks|knn/pair: *shapes cannot be multiplied*{place}"])


def test_a_long_message_is_cut(broken):
    result = broken.run("--sslbench-backbones=long", "--sslbench-tasks=knn/pair")
    (line,) = [line for line in result.outlines if line.startswith("long|knn/pair: ")]
    assert "word ... (" in line
    assert len(line) < 700


def test_what_fails_in_the_body_of_a_test_but_in_sslbench_is_a_line_as_well(broken):
    broken.tests("""
import pytest

@pytest.mark.sslbench(protocol="knn")
def test_knn(sslbench_features):
    sslbench_features.split("train")
""")
    result = broken.run("--sslbench-backbones=breaks,poisoned", "--sslbench-tasks=knn/pair")
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(
        ["breaks|knn/pair: *shapes cannot be*", "poisoned|knn/pair: FeatureError: poisoned gave NaN*"]
    )


@pytest.mark.parametrize("body", ["assert sslbench_record.main.value > 100", "{}[sslbench_record.case]", "int('x')"])
def test_what_the_test_itself_raises_stays_as_it_is(project, body):
    project.tests(f"import pytest\n\n@pytest.mark.sslbench('knn')\ndef test_knn(sslbench_record):\n    {body}\n")
    result = project.run("--sslbench-backbones=tiny", "--sslbench-tasks=knn/pair")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([f">   *{body.replace('[', '[[]')}", "test_bench.py:5: *Error"])


def test_pytests_own_functions_keep_their_meaning(broken):
    broken.run("--sslbench-backbones=skips", "--sslbench-tasks=knn/pair").assert_outcomes(skipped=1)
    broken.tests("""
import pytest

@pytest.mark.sslbench("knn")
def test_knn(sslbench_record):
    pytest.fail("on purpose", pytrace=False)

@pytest.mark.xfail(raises=ValueError)
@pytest.mark.sslbench("fewshot")
def test_fewshot(sslbench_record): raise ValueError
""")
    result = broken.run("--sslbench-backbones=tiny", "--sslbench-tasks=knn/pair,fewshot/digits/5shot")
    result.assert_outcomes(failed=1, xfailed=1)
    assert "on purpose" in result.outlines
    assert "tiny|knn/pair: " not in result.stdout.str()


def test_workers_hand_the_line_on(broken):
    pytest.importorskip("xdist")
    result = broken.run(
        "-n", "1", "--sslbench-backbones=surrogate,value", "--sslbench-tasks=knn/pair", "--junitxml=x.xml"
    )
    result.assert_outcomes(errors=2)
    result.stdout.fnmatch_lines(["value|knn/pair: ValueError: no weights in this place (*"])
    assert "value|knn/pair: ValueError: no weights in this place" in (broken.path / "x.xml").read_text()
