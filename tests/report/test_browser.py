"""The page in a real browser, where one is installed; it never goes online."""

from __future__ import annotations

import base64
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sslbench.names import printable
from sslbench.report.compare_page import compare_html
from sslbench.report.page import html_report
from sslbench.results.compare import compare_runs
from tests.results.conftest import build

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")

pytestmark = pytest.mark.skipif(not (BROWSER and DRIVER), reason="no chromium with its chromedriver on PATH")

FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
LONG = "file:" + "a-long-folder/" * 12 + "weights.pth"
BACKBONES = ("swav", "moco", "pixels", "</script><b>'\"\\udce9", LONG)


def records(skill: float = 0.0) -> list[Any]:
    rng = np.random.default_rng(0)
    ease = rng.random(400)
    return [
        build(
            name,
            f"{protocol}/{dataset}",
            correct=(ease + 0.05 * place + skill * (name == "swav") > 0.5).tolist(),
            guess=10.0,
            reference={"value": 55.0, "tolerance": 2.0, "source": "a table"} if name == "swav" else None,
            verdict="below" if name == "swav" else "no-reference",
        )
        for place, name in enumerate(BACKBONES)
        for protocol in ("linear", "knn")
        for dataset in ("digits", "pets", "a-data-set-with-a-long-name", "cars", "flowers", "dtd")
    ]


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    os.environ["SE_OFFLINE"] = "true"
    webdriver = pytest.importorskip("selenium.webdriver")
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    browser = webdriver.Chrome(options=options, service=Service(DRIVER))
    yield browser
    browser.quit()


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder: Path = tmp_path_factory.mktemp("pages")
    texts = {
        "report": html_report(records(), title="a run"),
        "compare": compare_html(compare_runs(records(0.1), records()), "new", "base"),
        "empty": html_report([], title="nothing"),
    }
    for name, text in texts.items():
        (folder / f"{name}.html").write_bytes(printable(text).encode())
    return {name: (folder / f"{name}.html").as_uri() for name in texts}


@pytest.fixture
def show(driver: Any, pages: dict[str, str]) -> Iterator[Any]:
    """Opens a page afresh, at a width, in a scheme; a page that says anything on the console has failed."""

    def opened(name: str = "report", *, width: int = 1280, scheme: str = "light", media: str = "") -> Any:
        driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False},
        )
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": media, "features": features})
        driver.get("about:blank")
        driver.get(pages[name])
        return driver

    yield opened
    driver.execute_script("try { localStorage.clear(); } catch {}")
    assert driver.get_log("browser") == []


def column(driver: Any, place: int, shown: str = "true") -> list[str]:
    return driver.execute_script(
        "return Array.from(document.querySelectorAll('table.sortable tbody tr')).filter(row => " + shown + ")"
        f".map(row => row.cells[{place}].dataset.sort)"
    )


def test_a_click_sorts_and_a_second_one_turns_the_order(show):
    page = show()
    head = page.find_elements("css selector", "#records th")[2]
    head.find_element("css selector", "button").click()
    values = [float(text) for text in column(page, 2)]
    assert values == sorted(values) and len(set(values)) > 3
    assert head.get_attribute("aria-sort") == "ascending"
    head.find_element("css selector", "button").click()
    assert [float(text) for text in column(page, 2)] == sorted(values, reverse=True)
    assert head.get_attribute("aria-sort") == "descending"


@pytest.mark.parametrize("key", ["ENTER", "SPACE"])
def test_a_keyboard_sorts_and_the_focus_is_seen(show, key):
    from selenium.webdriver.common.keys import Keys

    page = show()
    page.execute_script("document.getElementById('filter').focus()")
    page.switch_to.active_element.send_keys(Keys.TAB)
    # The box that scrolls, and then its first head.
    assert page.switch_to.active_element.get_attribute("role") == "region"
    page.switch_to.active_element.send_keys(Keys.TAB)
    button = page.switch_to.active_element
    assert button.text.startswith("Backbone")
    assert page.execute_script("return getComputedStyle(document.activeElement).outlineStyle") == "solid"
    button.send_keys(getattr(Keys, key))
    names = column(page, 0)
    assert names != sorted(names, reverse=True) and names[0] != names[-1]
    assert page.execute_script("return document.querySelector('#records th').getAttribute('aria-sort')") == "ascending"
    ordered = page.execute_script("return arguments[0].slice().sort((a, b) => a.localeCompare(b))", names)
    assert names == ordered


def test_unknown_values_stay_last_in_both_directions(show):
    page = show()
    (button,) = [one for one in page.find_elements("css selector", "#records th button") if "Reference" in one.text]
    place = page.execute_script("return arguments[0].closest('th').cellIndex", button)
    for _ in range(2):
        button.click()
        assert [text != "" for text in column(page, place)] == [True] * 12 + [False] * 48


def test_the_filter_takes_all_words_and_hides_the_sections_too(show):
    page = show()
    box = page.find_element("id", "filter")
    box.send_keys("SWAV knn/")
    assert set(column(page, 0, "!row.hidden")) == {"swav"} and len(column(page, 0, "!row.hidden")) == 6
    assert page.find_element("id", "shown").text == "6 of 60 cases"
    visible = "return Array.from(document.querySelectorAll('details')).filter(part => !part.hidden).length"
    assert page.execute_script(visible) == 6
    box.send_keys(" nothing-like-it")
    assert page.find_element("id", "shown").text == "0 of 60 cases"


def test_a_link_opens_its_case_even_where_the_filter_hid_it(show):
    page = show()
    page.find_element("id", "filter").send_keys("swav")
    link = page.find_elements("css selector", ".heat a")[0]
    target = link.get_attribute("href").partition("#")[2]
    page.execute_script("arguments[0].click()", link)
    state = "const part = document.getElementById(arguments[0]); return [part.open, part.hidden]"
    assert page.execute_script(state, target) == [True, False]
    # Again, though the address is the same.
    page.execute_script("document.getElementById(arguments[0]).open = false", target)
    page.execute_script("arguments[0].click()", link)
    assert page.execute_script(state, target) == [True, False]


@pytest.mark.parametrize("name", ["report", "compare", "empty"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_follows_the_scheme_of_the_system_and_the_button_goes_before(show, name, scheme):
    page = show(name, scheme=scheme)

    def ground() -> str:
        return page.execute_script("return getComputedStyle(document.body).backgroundColor")

    light, dark = "rgb(255, 255, 255)", "rgb(20, 22, 26)"
    assert ground() == (light if scheme == "light" else dark)
    button = page.find_element("id", "scheme")
    for told, expected in (("light", light), ("dark", dark), ("automatic", light if scheme == "light" else dark)):
        button.click()
        assert (button.text, ground()) == (f"Colours: {told}", expected)


@pytest.mark.parametrize("name", ["report", "compare", "empty"])
@pytest.mark.parametrize("width", [320, 390, 1280])
def test_no_width_makes_the_page_scroll_sideways(show, name, width):
    page = show(name, width=width)
    page.execute_script("for (const part of document.querySelectorAll('details')) part.open = true")
    assert page.execute_script("return document.scrollingElement.scrollWidth <= innerWidth")
    # The tables that are wider than it scroll in their own boxes, and their first column stays.
    if name == "report" and width == 390:
        box = page.execute_script("return document.getElementById('records').parentElement")
        assert page.execute_script("return arguments[0].scrollWidth > arguments[0].clientWidth", box)
        left = "return arguments[0].querySelector('tbody td').getBoundingClientRect().left"
        before = page.execute_script(left, box)
        page.execute_script("arguments[0].scrollLeft = 200", box)
        assert page.execute_script(left, box) == pytest.approx(before, abs=1)


def test_paper_is_light_and_has_no_controls_and_no_closed_case(show):
    page = show(scheme="dark", media="print", width=718)
    assert page.execute_script("return getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    for thing in ("nav", "#scheme", "#search", "details"):
        assert page.execute_script(f"return getComputedStyle(document.querySelector('{thing}')).display") == "none"
    # What A4 has room for between its margins: what is wider would be cut, or all of the page made smaller.
    assert page.execute_script("return document.scrollingElement.scrollWidth <= innerWidth")
    page.execute_script("document.querySelector('details').open = true")
    assert page.execute_script("return getComputedStyle(document.querySelector('details')).display") == "block"
    printed = base64.b64decode(
        page.execute_cdp_cmd("Page.printToPDF", {"paperWidth": 8.27, "paperHeight": 11.69})["data"]
    )
    assert printed.startswith(b"%PDF") and len(printed) > 20_000


def test_names_stay_text_and_nothing_is_loaded(show):
    page = show()
    assert page.execute_script("return document.querySelectorAll('script').length") == 1
    assert page.execute_script("return document.querySelectorAll('main b').length") == 0
    assert page.execute_script("return performance.getEntriesByType('resource').length") == 0
    assert "</script><b>" in page.find_element("id", "records").text


def test_headings_landmarks_and_the_skip_link(show):
    from selenium.webdriver.common.keys import Keys

    page = show()
    page.find_element("css selector", "body").send_keys(Keys.TAB)
    first = page.switch_to.active_element
    assert first.text == "Skip to the content" and first.rect["x"] >= 0
    first.send_keys(Keys.ENTER)
    assert page.execute_script("return document.activeElement.id") == "main"


def test_compared_cases_are_sorted_by_evidence(show):
    page = show("compare")
    place = page.execute_script(
        "return Array.from(document.querySelectorAll('table.sortable th')).findIndex(head => head.textContent.trim() === 'p')"
    )
    ps = [float(text) for text in column(page, place)]
    assert ps == sorted(ps) and ps[0] < 0.05 and len(ps) == 60
    assert "the new run is better on 12 and worse on 0" in page.find_element("css selector", ".finding").text
