"""The report's page as people meet it, in a browser at three widths; skipped where there is none.

With ADAPTERLAB_SCREENSHOTS=FOLDER the windows are kept as pictures, to be looked at.
"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from matplotlib.figure import Figure
from playwright.sync_api import Browser, ViewportSize, sync_playwright
from playwright.sync_api import Page as Window
from synthetic import Made, study

from adapterlab.reporting.figures.study import FIGURES, narrow_figure
from adapterlab.reporting.findings import Findings
from adapterlab.reporting.page import Page, Picture, as_html, svg_of
from adapterlab.reporting.sentences.verdict import verdict
from adapterlab.reporting.tables.arms import (
    Table,
    costs_table,
    matched_tables,
)
from adapterlab.reporting.tables.spreadsheets import runs_table

CHROMIUM = os.environ.get("ADAPTERLAB_CHROMIUM") or next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
SCREENSHOTS = os.environ.get("ADAPTERLAB_SCREENSHOTS")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        CHROMIUM is None, reason="no Chromium is installed, and ADAPTERLAB_CHROMIUM names none"
    ),
]

WINDOWS: dict[int, ViewportSize] = {
    390: {"width": 390, "height": 844},
    768: {"width": 768, "height": 1024},
    1280: {"width": 1280, "height": 900},
}
ARMS = 33
STRATEGIES = ("full", "head", "lora", "dora", "bitfit", "last_layers")

TOO_WIDE = """() => {
  const boxed = e => e.parentElement?.closest('.wide');
  return [...document.body.querySelectorAll('*')].filter(
    e => !boxed(e) && !e.matches('.unseen') && e.getBoundingClientRect().right > innerWidth + 0.5
  ).map(e => `${e.tagName} ${e.className} ${e.getBoundingClientRect().right}`);
}"""
"""Elements that stick out of the window, but for what scrolls in a box of its own."""

HIDDEN = """(box, left) => {
  box.scrollLeft = left;
  const seen = (cell, text) => {
    const range = document.createRange();
    range.selectNodeContents(cell);
    return cell.offsetWidth > 0 && [...range.getClientRects()].every(box => {
      const at = document.elementFromPoint(box.left + box.width / 2, box.top + box.height / 2);
      return box.left >= 0 && box.right <= innerWidth && (at === null || cell.contains(at));
    });
  };
  return [...box.querySelectorAll('tbody tr:not(.group)')].map(row => {
    row.scrollIntoView();
    const name = row.querySelector('th');
    const said = [...row.querySelectorAll('td.verdict, .under')].find(e => e.offsetWidth > 0);
    return seen(name) && said !== undefined && seen(said) ? null : row.innerText;
  });
}"""
"""By row of a table, None, or its text if the arm's name or its verdict is cut off or covered."""


def many() -> Findings:
    made = [
        Made(
            f"{STRATEGIES[i % 6]} rank={2 ** (i // 6)} lr=0.00{i} <b>a_name_without_a_blank={i:09}",
            0.6 + 0.3 * i / ARMS,
            params={"adapter.rank": str(2 ** (i // 6)), "adapter.alpha": "8"},
            metrics={
                "params/trainable": 1000 * 2 ** (i / 4),
                "params/total": 2e6,
                "cost/adapter_bytes": 4096 * 2 ** (i / 4),
                "cost/train_seconds": 3 + i,
                "source/accuracy_before": 0.9,
                "source/accuracy_after": 0.9 - 0.01 * (i % 7),
                "best/val_accuracy": 0.8,
            },
        )
        for i in range(ARMS)
    ]
    return study(*made, classes=["<b>cat</b>", "$5 to $10 & more", "a class of a long name"])


def full_table(findings: Findings) -> Table:
    """A table of arms with all columns that it may have, each as wide as it gets."""
    header = ("arm", "seeds", "test accuracy", "difference", "p", "would have found", "letters",
              "may be best", "runs", "verdict", "validation accuracy")  # fmt: skip
    figures = ("3", "100.00% (100.00 to 100.00)", "-12.34 (-23.45 to -11.23)", "<0.001", "12.34")
    more = (
        ("a", "yes", "5", "reference", "100.00% (100.00 to 100.00)"),
        ("abcdef", "no", "3 of 5: 2 diverged", "better as trained; diverged in 2 of 5", ""),
    )
    rows = tuple((arm.name, *figures, *more[i % 2]) for i, arm in enumerate(findings.arms))
    return Table("Arms", header, rows)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of a page of a large study."""
    findings = many()
    pictures = []
    for stem, (title, caption, draw) in FIGURES.items():
        figure = draw(findings)
        if isinstance(figure, Figure):
            narrow = narrow_figure(stem, findings)
            drawn = None if narrow is None else svg_of(narrow)
            pictures.append(Picture(stem, title, caption, svg_of(figure), drawn))
    page = Page(
        study="a_study_of_a_very_long_name/with_33_arms_and_<b>markup</b>",
        about="33 arms",
        verdict=verdict(findings),
        tables=[full_table(findings), costs_table(findings),
                *matched_tables(findings)],
        pictures=pictures,
        notes=["a_note_" + "x" * 200],
        facts=[("model", "m" * 200)],
        runs=runs_table(findings),
    )  # fmt: skip
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(as_html(page), encoding="utf-8")
    return path.as_uri()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(params=WINDOWS)
def window(request: pytest.FixtureRequest, browser: Browser, report: str) -> Iterator[Window]:
    with browser.new_context(viewport=WINDOWS[request.param]) as context:
        window = context.new_page()
        window.goto(report)
        yield window


def keep(window: Window, name: str) -> None:
    if SCREENSHOTS is not None:
        width = window.evaluate("innerWidth")
        window.screenshot(path=Path(SCREENSHOTS) / f"{name}-{width}.png")


def assert_nothing_is_wider(window: Window) -> None:
    assert window.evaluate("document.scrollingElement.scrollWidth - innerWidth") <= 0
    assert window.evaluate(TOO_WIDE) == []


def test_nothing_is_wider_than_the_window(window: Window) -> None:
    keep(window, "top")
    window.evaluate("document.querySelectorAll('details').forEach(e => { e.open = true })")
    assert_nothing_is_wider(window)
    keep(window, "top")


def test_the_answer_is_seen_at_once(window: Window) -> None:
    box = window.locator(".answer p").first.bounding_box()
    size = window.viewport_size
    assert box is not None
    assert size is not None
    assert box["y"] + box["height"] < size["height"]


@pytest.mark.parametrize("scrolled", [0, 10_000], ids=["unscrolled", "scrolled"])
def test_name_and_verdict_of_every_arm_stay_in_the_window(window: Window, scrolled: int) -> None:
    boxes = window.locator(".wide:has(td.verdict)")
    assert boxes.count() == 2
    for box in boxes.all():
        hidden = box.evaluate(HIDDEN, scrolled)
        assert len(hidden) >= ARMS - 3
        assert not any(hidden)
    window.locator("h2").first.scroll_into_view_if_needed()
    keep(window, f"arms-{scrolled}")


def test_on_a_laptop_no_table_of_arms_scrolls(window: Window) -> None:
    if window.evaluate("innerWidth") < 1280:
        pytest.skip("narrower windows scroll tables in boxes")
    for box in window.locator("h2 + .wide").all():
        assert box.evaluate("box => box.scrollWidth - box.clientWidth") == 0


def test_letters_of_pictures_are_large_enough_to_read(window: Window) -> None:
    for picture in window.locator("figure img").all():
        drawn = picture.evaluate("img => img.decode().then(() => img.naturalWidth)")
        shown = picture.evaluate("img => img.getBoundingClientRect().width")
        # Letters are 9 points, 12 pixels, at their natural size.
        assert 12 * shown / drawn >= 10


def test_dark_is_dark_and_pictures_keep_their_paper(browser: Browser, report: str) -> None:
    with browser.new_context(color_scheme="dark", viewport=WINDOWS[1280]) as context:
        window = context.new_page()
        window.goto(report)
        colour = "e => getComputedStyle(e).backgroundColor"
        assert window.locator("body").evaluate(colour) == "rgb(22, 24, 26)"
        assert window.locator("figure .wide").first.evaluate(colour) == "rgb(255, 255, 255)"
        keep(window, "dark")
        window.emulate_media(media="print")
        assert window.locator("body").evaluate(colour) == "rgb(255, 255, 255)"


def test_paper_cuts_nothing(browser: Browser, report: str) -> None:
    # A4 between margins of 14 mm, at 96 pixels an inch.
    with browser.new_context(viewport={"width": 688, "height": 1017}) as context:
        window = context.new_page()
        window.goto(report)
        window.emulate_media(media="print")
        keep(window, "print")
        assert_nothing_is_wider(window)
        for box in window.locator("h2 + .wide").all():
            assert box.evaluate("box => box.scrollWidth - box.clientWidth") <= 0
