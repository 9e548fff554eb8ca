"""What a user sees in MLflow's UI, in a browser; skipped where there is none."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

from adapterlab.app import cli
from adapterlab.tracking.stores.uris import default_uri
from lab import ONE_PROCESS, TINY, as_program, mlflow_process

CHROMIUM = os.environ.get("ADAPTERLAB_CHROMIUM") or next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        CHROMIUM is None, reason="no Chromium is installed, and ADAPTERLAB_CHROMIUM names none"
    ),
]

expect.set_options(timeout=30_000)

SHOWN_AFTER = """link => {
    let fold = link;
    while (getComputedStyle(fold).overflow != "hidden") fold = fold.parentElement;
    const bottom = Math.min(fold.getBoundingClientRect().bottom, innerHeight);
    const text = link.nextSibling, range = document.createRange();
    let shown = 0;
    while (shown < text.length) {
        range.setStart(text, shown);
        range.setEnd(text, shown + 1);
        if (range.getBoundingClientRect().bottom > bottom) break;
        shown += 1;
    }
    return shown;
}"""
"""How many characters of the text after a link are seen without unfolding or scrolling."""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of two strategies and two seeds, trained in packs, with its report."""
    root = tmp_path_factory.mktemp("seen")
    options = [option for option in TINY if option != "tracking=none"]
    sweep = (
        "hydra/launcher=packed",
        "adapter=head,lora",
        "seed=0,1",
        "figures=always",
        "study=seen",
    )
    with as_program(root, "-m", *options, *ONE_PROCESS["packed"], *sweep):
        cli.train()
    return root


@pytest.fixture(scope="module")
def runs(root: Path) -> dict[str, Run]:
    """The study's runs by name, its own among them."""
    client = MlflowClient(default_uri(root / "mlruns"))
    experiment = client.get_experiment_by_name("adapterlab").experiment_id
    found = client.search_runs([experiment], "tags.study = 'seen'")
    return {run.info.run_name: run for run in found}


@pytest.fixture(scope="module")
def ui(root: Path) -> Iterator[str]:
    """MLflow's UI on the store, as `make ui` starts it."""
    store = f"sqlite:///{root}/mlruns/mlflow.db"
    with mlflow_process(root, "ui", "--backend-store-uri", store, cwd=root) as uri:
        yield uri


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page of a user who has never been here; an exception in its scripts is a failure."""
    errors: list[str] = []
    with browser.new_context(viewport={"width": 1400, "height": 900}) as context:
        page = context.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        yield page
    assert errors == []


def address(ui: str, run: Run, where: str = "") -> str:
    return (
        f"{ui}/#/experiments/{run.info.experiment_id}/runs/{run.info.run_id}{where}"
        "?workflowType=machine_learning"
    )


def row_of(page: Page, name: str) -> Locator:
    """The row of a run in the table of runs."""
    return page.get_by_role("row").filter(has=page.get_by_role("link", name=name, exact=True))


def close_assistant(page: Page) -> None:
    """Close what takes the right third of the window at a first visit."""
    page.get_by_role("button", name="Close", exact=True).click()


def open_study(page: Page, ui: str, runs: dict[str, Run]) -> None:
    """Open the table of runs, close what covers it at a first visit, unfold the study."""
    experiment = runs["seen"].info.experiment_id
    page.goto(f"{ui}/#/experiments/{experiment}/runs?workflowType=machine_learning")
    expect(row_of(page, "seen")).to_be_visible()
    close_assistant(page)
    row_of(page, "seen").get_by_role("button").first.click()


def test_the_table_has_the_study_and_its_runs_by_name(
    page: Page, ui: str, runs: dict[str, Run]
) -> None:
    open_study(page, ui, runs)
    for name in ("head seed 0", "head seed 1", "lora seed 0", "lora seed 1"):
        expect(row_of(page, name)).to_be_visible()
    expect(page.get_by_text("digits_rotated (")).to_have_count(4)


def test_two_runs_compare(page: Page, ui: str, runs: dict[str, Run]) -> None:
    open_study(page, ui, runs)
    for name in ("head seed 0", "lora seed 0"):
        row_of(page, name).get_by_role("checkbox").first.click()
    page.get_by_role("button", name="Compare").click()
    for name in ("head seed 0", "lora seed 0"):
        expect(page.get_by_role("cell", name=name)).to_be_visible()
    strategy = page.get_by_role("row").filter(has_text="adapter.name")
    expect(strategy).to_contain_text("head")
    expect(strategy).to_contain_text("lora")
    expect(page.get_by_role("link", name="data/test_examples")).to_be_visible()
    for name in ("head seed 0", "lora seed 0"):
        tested = f"{runs[name].data.metrics['data/test_examples']:.0f}"
        expect(page.get_by_text(tested, exact=True).last).to_be_visible()


def test_a_picture_opens(page: Page, ui: str, runs: dict[str, Run]) -> None:
    page.goto(address(ui, runs["lora seed 0"], "/artifacts/figures/confusion_matrix.png"))
    picture = page.get_by_alt_text("figures/confusion_matrix.png")
    expect(picture).to_be_visible()
    assert picture.evaluate("image => image.decode().then(() => image.naturalWidth)") > 300


def test_the_study_shows_its_verdict_and_opens_its_report(
    page: Page, ui: str, root: Path, runs: dict[str, Run]
) -> None:
    page.goto(address(ui, runs["seen"]))
    text = (root / "mlruns" / "reports" / "seen" / "report.md").read_text()
    verdict = next(line for line in text.splitlines() if line.startswith("Which arm is best"))
    expect(page.get_by_text(verdict)).to_be_visible()
    close_assistant(page)
    for size in ((1400, 900), (1280, 720)):
        page.set_viewport_size({"width": size[0], "height": size[1]})
        link = page.get_by_role("link", name="Open the report")
        expect(link).to_be_in_viewport()
        # Neither below the window nor in what the page folds.
        assert link.evaluate(SHOWN_AFTER) >= len(verdict), size
    for name, value in (("runs", "4"), ("arms", "2")):
        row = page.get_by_role("row").filter(has=page.get_by_role("link", name=f"study/{name}"))
        expect(row).to_contain_text(value)
    with page.context.expect_page() as opened:
        page.get_by_role("link", name="Open the report").click()
    report = opened.value
    expect(report.frame_locator("iframe").get_by_text(verdict)).to_be_visible()
    expect(
        report.frame_locator("iframe").get_by_role("rowheader", name="lora").first
    ).to_be_visible()
