from __future__ import annotations

import random
from html.parser import HTMLParser

import pytest

from sslbench.results.record import slug
from sslbench.results.report import html_report, write_report
from sslbench.results.tables import pivot_markdown, to_csv

VOID = {"meta", "link", "input", "br", "hr", "img", "line", "circle"}
ATTACK = "<script>alert(1)</script>"


class Page(HTMLParser):
    """Checks the nesting and keeps elements and text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[tuple[str, str]] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if data.strip():
            self.text.append((self.open[-1] if self.open else "", data.strip()))

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


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
    assert "url(" not in html_report(records, title="") and "@import" not in html_report(records, title="")
    assert ("title", "A & B") in page.text


def test_every_link_leads_to_the_recipe_of_a_record(records):
    page = Page(html_report(records, title="t"))
    ids = {attributes["id"] for attributes in page.all("details")}
    assert ids == {slug(record.case) for record in records}
    assert {attributes["href"] for attributes in page.all("a")} == {f"#{name}" for name in ids}


def test_the_table_is_sortable_with_a_keyboard(records):
    text = html_report(records, title="t")
    page = Page(text)
    sortable = [attributes for attributes in page.all("th") if "aria-sort" in attributes]
    assert len(sortable) == len(page.all("button")) == 11
    first = text.split('<table id="records">')[1].split("<tbody>")[1].split("</tr>")[0]
    assert first.count("<td") == 11


def test_cells_hold_score_interval_reference_and_verdict(records):
    text = html_report(records, title="t")
    page = Page(text)
    assert ("td", "90.0 ± 1.0 % top1") in page.text
    assert ("td", "85.0 ± 2.0") in page.text
    assert ("td", "▲ above") in page.text
    labels = {attributes["aria-label"] for attributes in page.all("svg")}
    assert labels == {"88.0 to 92.0, reference 85.0", "68.0 to 72.0", "48.0 to 52.0"}
    # linear/digits spans 68..92 over x 4..136, so 90 lies at 4 + 132 * 22 / 24.
    assert '<circle cx="125.0"' in text


def test_recipes_hold_the_ingredients(records):
    page = Page(html_report(records, title="t"))
    pairs = {(term, text) for (tag, term), (_, text) in zip(page.text, page.text[1:], strict=False) if tag == "dt"}
    assert {("digest", "weights of swav"), ("fingerprint", "data-1"), ("l2", "0.1"), ("torch", "2.9")} <= pairs


def test_the_overview_colours_by_merit_and_keeps_noise_pale(make_record):
    def heats(records):
        page = Page(html_report(records, title="t"))
        return [attributes["style"] for attributes in page.all("td") if "style" in attributes]

    assert heats([make_record("a", value=90.0), make_record("b", value=50.0)]) == ["--heat: 100%", "--heat: 0%"]
    lower = [make_record(name, value=v, higher_is_better=False) for name, v in (("a", 90.0), ("b", 50.0))]
    assert heats(lower) == ["--heat: 0%", "--heat: 100%"]
    assert heats([make_record("a", value=90.0), make_record("b", value=89.0)]) == ["--heat: 25%", "--heat: 0%"]


def test_the_level_of_guessing_is_in_the_overview_and_beside_each_score(make_record):
    records = [make_record("a", guess=90.5), make_record("a", "knn/pets")]
    text = html_report(records, title="t")
    page = Page(text)
    foot = text.split("<tfoot>")[1].split("</tfoot>")[0]
    assert foot.count("<td") == 2 and ">–</td>" in foot and ">90.5</td>" in foot
    assert text.split('<table id="records">')[1].count('data-sort="90.5">90.5</td>') == 1
    assert ("dd", "90.5") in page.text
    assert "Guessing: what a guess scores" in text
    assert "<tfoot>" not in html_report(records[1:], title="t")


def test_an_unsolved_probe_is_marked_and_explained(make_record):
    early = make_record(hyperparameters={"unconverged": 2, "gap": None})
    text = html_report([early, make_record("b")], title="t")
    Page(text)
    assert ">90.0 ± 1.0 †</a>" in text and text.count('<abbr title="† a linear probe') == 1
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
    assert ("dd", ATTACK) in page.text


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


def test_no_records():
    Page(html_report([], title="t"))
