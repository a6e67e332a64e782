from __future__ import annotations

import math
import random
import re
from importlib.resources import files
from itertools import pairwise

import pytest

from sslbench.report.page import html_report
from sslbench.report.score_tables import heats
from sslbench.report.write import write_report
from sslbench.results.record import slug
from sslbench.results.tables import ordered, pivot_markdown, to_csv
from tests.report.pages import Page

ATTACK = "<script>alert(1)</script>"


@pytest.fixture
def records(make_record):
    reference = {"value": 85.0, "tolerance": 2.0, "source": "https://example.org/paper"}
    return [
        make_record("swav", "linear/digits", value=90.0, reference=reference, verdict="above"),
        make_record("moco", "linear/digits", value=70.0, verdict="no-reference", timings={"extract": None}),
        make_record("swav", "knn/pets", value=50.0),
    ]


def test_the_page_is_well_formed_and_loads_nothing(records):
    page = Page(html_report(records, title="A & B"))
    for _, attributes in page.elements:
        assert "src" not in attributes
        assert attributes.get("href", "#").startswith("#")
    text = html_report(records, title="")
    assert "url(" not in text and "@import" not in text and "fetch(" not in text
    (policy,) = [one["content"] for one in page.all("meta") if "http-equiv" in one]
    assert policy.startswith("default-src 'none'") and "http" not in policy
    assert ("title", "A & B") in page.text


def test_every_link_leads_somewhere_and_every_case_has_a_section(records):
    page = Page(html_report(records, title="t"))
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert [attributes["id"] for attributes in page.all("details")] == [slug(r.case) for r in ordered(records)]
    links = [attributes["href"] for attributes in page.all("a")]
    assert {link.removeprefix("#") for link in links} <= set(ids)
    assert all(links.count(f"#{slug(record.case)}") == 2 for record in records)
    for _, attributes in page.elements:
        assert {attributes.get("aria-labelledby"), attributes.get("data-part")} - {None} <= set(ids)


def test_every_backbone_and_task_is_there_and_tables_tell_their_heads(records):
    text = html_report(records, title="t")
    page = Page(text)
    said = {told for _, told in page.text}
    assert {"swav", "moco", "linear/digits", "knn/pets", "digits", "pets"} <= said
    assert all(attributes.get("scope") in ("col", "row") for attributes in page.all("th"))
    for label in (attributes for attributes in page.all("div") if attributes.get("class") == "scroll"):
        assert label["role"] == "region" and label["tabindex"] == "0" and label["aria-label"]
    assert text.count("<main") == text.count("<header") == text.count("<nav") == text.count("<h1") == 1
    # No heading skips a level.
    levels = [int(tag[1]) for tag, _ in page.elements if tag in ("h1", "h2", "h3", "h4")]
    assert all(after <= before + 1 for before, after in pairwise(levels))


def test_the_table_is_sortable_with_a_keyboard(records):
    text = html_report(records, title="t")
    page = Page(text)
    sortable = [attributes for attributes in page.all("th") if "aria-sort" in attributes]
    assert len(sortable) == len(page.all("button")) - 1 == 10
    first = text.split('<table id="records"')[1].split("<tbody>")[1].split("</tr>")[0]
    assert first.count("<td") == 10


def test_columns_that_no_record_fills_are_left_out(make_record):
    def heads(record):
        return len([one for one in Page(html_report([record], title="t")).all("th") if "aria-sort" in one])

    assert heads(make_record()) == 8
    assert heads(make_record(guess=10.0)) == 9
    assert heads(make_record(guess=10.0, reference={"value": 1.0, "tolerance": None, "how": "not told"})) == 11


def test_cells_hold_score_interval_reference_and_verdict(records):
    text = html_report(records, title="t")
    page = Page(text)
    assert ("td", "90.0 ± 1.0 % top1") in page.text
    assert ("td", "85.0 ± 2.0") in page.text
    assert ("td", "▲ above") in page.text
    assert ("li", "Reference of top1: https://example.org/paper.") in page.text
    labels = {attributes["aria-label"] for attributes in page.all("svg")}
    assert labels == {"88.0 to 92.0, reference 85.0", "68.0 to 72.0", "48.0 to 52.0"}
    # linear/digits spans 68..92 over x 4..136, so 90 lies at 4 + 132 * 22 / 24.
    assert '<circle cx="125.0"' in text


def test_recipes_hold_the_ingredients(records):
    lines = {
        line for tag, text in Page(html_report(records, title="t")).text if tag == "pre" for line in text.split("\n")
    }
    assert {"digest: weights of swav", "fingerprint: data-1", "l2: 0.1", "torch: 2.9"} <= lines


def test_scores_are_coloured_by_merit_and_noise_stays_pale(make_record):
    def styles(records):
        page = Page(html_report(records, title="t"))
        return [attributes["style"] for attributes in page.all("td") if "style" in attributes]

    assert styles([make_record("a", value=90.0), make_record("b", value=50.0)]) == ["--heat: 100%", "--heat: 0%"]
    lower = [make_record(name, value=v, higher_is_better=False) for name, v in (("a", 90.0), ("b", 50.0))]
    assert styles(lower) == ["--heat: 0%", "--heat: 100%"]
    assert styles([make_record("a", value=90.0), make_record("b", value=89.0)]) == ["--heat: 25%", "--heat: 0%"]
    # A control has no colour and takes none from others.
    controls = [make_record("pixels", value=1.0), make_record("random-init:x", value=99.0)]
    assert styles([make_record("a", value=90.0), make_record("b", value=50.0), *controls]) == [
        "--heat: 100%",
        "--heat: 0%",
    ]
    assert styles(controls) == []
    described = [make_record("a", "occlusion/pets", value=90.0), make_record("b", "occlusion/pets", value=50.0)]
    assert styles(described) == []
    text = html_report(described, title="t")
    assert "neither end is better" in text and "<td>higher</td>" not in text


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(
    ("values", "stderr", "expected"),
    [
        # Gaps of 1, 2, 1 and 16, whose lower median is 1: the last counts four standard errors, or two gaps.
        ([70, 71, 73, 74, 90], 1.0, [0, 12.5, 37.5, 50, 100]),
        ([70, 71, 73, 74, 90], 0.1, [0, 100 / 6, 50, 200 / 3, 100]),
        ([70, 71, 73, 74, 90], math.nan, [0, 100 / 6, 50, 200 / 3, 100]),
        # An outstandingly bad one as well.
        ([10, 71, 73, 74, 75], 1.0, [0, 50, 75, 87.5, 100]),
        # Without an outstanding one they are the values' own distances.
        ([50, 60, 70, 90], 0.1, [0, 25, 50, 100]),
        ([50, 51, 50, 90], 1.0, [0, 20, 0, 100]),
        # Noise stays pale.
        ([70, 70.5, 71], 1.0, [0, 12.5, 25]),
        ([70, 70], math.nan, [0, 0]),
        ([70], 1.0, [0]),
    ],
)
def test_one_outstanding_backbone_leaves_the_others_told_apart(make_record, sign, values, stderr, expected):
    column = [
        make_record(f"net{place}", value=sign * value, stderr=stderr, higher_is_better=sign > 0)
        for place, value in enumerate(values)
    ]
    control = make_record("pixels", value=-sign * 500.0, stderr=stderr, higher_is_better=sign > 0)
    assert heats([*column, control]) == [*map(pytest.approx, expected), None]


def test_a_table_a_protocol_with_controls_last_and_scales_in_its_heads(make_record):
    scale = {"unit": "degrees", "higher_is_better": False, "main_score": "mean_angle"}
    records = [make_record("pixels"), make_record("swav"), make_record("swav", "normals/rooms", **scale)]
    text = html_report(records, title="t")
    page = Page(text)
    assert [told for tag, told in page.text if tag == "h3"][1:4] == ["linear", "normals", "Scores"]
    linear = text.split("<h3>linear</h3>")[1].split("</table>")[0]
    assert linear.index(">swav<") < linear.index('class="control">pixels<')
    assert ("p", "%, higher is better.") in page.text and ("p", "degrees, lower is better.") in page.text
    assert ("small", "mean_angle") in page.text
    mixed = Page(html_report([*records, make_record("swav", "normals/halls", main_score="within")], title="t"))
    assert ("small", "mean_angle · degrees, lower is better") in mixed.text
    assert ("small", "within · %, higher is better") in mixed.text


def test_the_level_of_guessing_is_in_the_score_tables_and_beside_each_score(make_record):
    records = [make_record("a", guess=90.5), make_record("a", "knn/pets")]
    text = html_report(records, title="t")
    page = Page(text)
    records.append(make_record("a", "linear/pets"))
    foot = html_report(records, title="t").split("<tfoot>")[1].split("</tfoot>")[0]
    assert foot.count("<td") == 2 and ">–</td>" in foot and ">90.5</td>" in foot
    assert text.split('<table id="records"')[1].count('data-sort="90.5">90.5</td>') == 1
    assert any(tag == "pre" and "guess: 90.5" in told for tag, told in page.text)
    assert "Guessing: what a guess scores" in text
    assert "<tfoot>" not in html_report(records[1:2], title="t")


def test_an_unsolved_probe_is_marked_and_explained(make_record):
    early = make_record(hyperparameters={"unconverged": 2, "gap": None})
    text = html_report([early, make_record("b")], title="t")
    Page(text)
    assert ">90.0 <small>± 1.0</small> †</a>" in text and text.count('<abbr title="† a linear probe') == 1
    assert text.count("† a linear probe that did not reach its tolerance") == 2
    assert "†" not in html_report([make_record()], title="t")


def test_records_of_other_compat_choices_have_no_colour(make_record):
    records = [make_record(n, value=v, compat={"linear-solver": n}) for n, v in (("path", 90.0), ("sklearn", 50.0))]
    assert html_report(records, title="t").count("--heat: 0%") == 2


def test_injected_markup_stays_text(make_record):
    attack = make_record(
        ATTACK,
        f"linear/{ATTACK.replace('/', '')}\"'",
        verdict=f'"{ATTACK}',
        unit=ATTACK,
        hyperparameters={ATTACK: ATTACK},
    )
    page = Page(html_report([attack], title=ATTACK))
    assert len(page.all("script")) == 1
    assert all("onclick" not in attributes for _, attributes in page.elements)
    assert ("a", ATTACK) in page.text
    assert ("pre", f"{ATTACK}: {ATTACK}") in page.text


def test_a_dollar_in_a_name_is_no_placeholder(make_record):
    assert ">$rows ${title}<" in html_report([make_record("$rows ${title}")], title="t")


def test_the_page_does_not_depend_on_the_order_of_the_records(records):
    expected = html_report(records, title="t")
    for seed in range(5):
        assert html_report(random.Random(seed).sample(records, len(records)), title="t") == expected


def test_write_report(records, tmp_path):
    paths = write_report(iter(records), tmp_path / "new")
    assert [path.name for path in paths] == ["summary.csv", "summary.md", "report.html"]
    texts = [path.read_text(encoding="utf-8") for path in paths]
    assert texts == [to_csv(records), pivot_markdown(records), html_report(records, title="sslbench report")]


def test_text_and_marks_are_told_from_their_ground():
    """WCAG's AA: 4.5 to 1 for text, 3 to 1 for marks and frames, in both schemes."""
    style = files("sslbench.report").joinpath("page.css").read_text()
    colours = {
        name: (light, dark) for name, light, dark in re.findall(r"--(\w+): light-dark\((#\w{6}), (#\w{6})\)", style)
    }
    assert len(colours) == 8

    def channels(colour):
        return [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]

    def luminance(rgb):
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in rgb]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    def contrast(first, second):
        low, high = sorted((luminance(first), luminance(second)))
        return (high + 0.05) / (low + 0.05)

    for scheme in (0, 1):
        rgb = {name: channels(both[scheme]) for name, both in colours.items()}
        for ground in ("page", "raised"):
            for ink in ("text", "soft", "below", "above"):
                assert contrast(rgb[ink], rgb[ground]) >= 4.5, (scheme, ink, ground)
            assert contrast(rgb["accent"], rgb[ground]) >= 3
        # The strongest colours behind text: `.heat`, `.won` and `.lost`.
        for tint, part in (("accent", 0.45), ("above", 0.25), ("below", 0.25)):
            mixed = [part * a + (1 - part) * b for a, b in zip(rgb[tint], rgb["page"], strict=True)]
            assert contrast(rgb["text"], mixed) >= 4.5, (scheme, tint)


def test_no_records():
    Page(html_report([], title="t"))
