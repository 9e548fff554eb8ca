"""The pages and tables of a report."""

import base64
import re
from dataclasses import replace

import pytest
from markdown_it import MarkdownIt
from matplotlib.figure import Figure
from synthetic import Made, study

from adapterlab.base.amounts import counted
from adapterlab.evidence.intervals import Interval
from adapterlab.reporting import formatting
from adapterlab.reporting.findings import estimate
from adapterlab.reporting.page import Page, Picture, as_html, as_markdown, svg_of
from adapterlab.reporting.sentences.notes import facts, notes
from adapterlab.reporting.tables.arms import (
    Table,
    arms_table,
    costs_table,
    matched_tables,
)
from adapterlab.training.hardware import fingerprint

NASTY = "<script>alert('x')</script> *a* | b_c $5"


def rows(table: Table) -> dict[str, dict[str, str]]:
    return {row[0]: dict(zip(table.header, row, strict=True)) for row in table.rows}


def test_figures_as_people_read_them() -> None:
    assert formatting.percent(0.87094) == "87.09%"
    assert formatting.points(-0.0206) == "-2.06"
    assert formatting.points(0.001) == "+0.10"
    # 12.706 is Student's t of one degree of freedom: 12.706 * 0.0141 / sqrt(2).
    assert formatting.with_interval(estimate([0.5, 0.52])) == "51.00% (38.29 to 63.71)"
    assert formatting.with_interval(estimate([0.5])) == "50.00%"
    assert formatting.with_interval(None) == "not measured"
    assert formatting.with_interval(estimate([0.5, 0.52]), "nll") == "0.5100 (0.3829 to 0.6371)"
    assert formatting.gap(0.0565, "accuracy") == "5.65 points"
    assert formatting.gap(-0.00001, "accuracy") == "0.001 points"
    assert formatting.gap(0.01234, "nll") == "0.0123 nats"
    assert formatting.gap(0.01234, "mcc") == "0.0123"
    assert formatting.signed(-0.01, "recall/cat") == "-1.00"
    assert formatting.between(Interval(0.1, 0.25)) == "10.00% to 25.00%"
    assert [formatting.p_value(p) for p in (None, 0.0004, 0.012, 0.0499, 0.5, 1.0)] == [
        "not tested", "<0.001", "0.012", "0.0499", "0.50", "1.00",
    ]  # fmt: skip
    assert [formatting.size(n) for n in (512, 47_400, 5 * 2**20, 3 * 2**30)] == [
        "512 B", "46.3 KiB", "5.0 MiB", "3.0 GiB",
    ]  # fmt: skip
    assert formatting.listed(["a"]) == "a"
    assert formatting.listed(["a", "b", "c"]) == "a, b and c"
    assert formatting.listed(list("abcdef")) == "a, b, c, d and 2 more"
    assert counted(1, "seed") == "1 seed"
    assert counted(5000, "run") == "5,000 runs"


def test_a_column_that_nobody_has_is_left_out() -> None:
    alone = {"cost/train_seconds": 2.0}
    table = costs_table(study(Made("full", 0.9, metrics=alone), Made("head", 0.5)))
    assert "seconds alone" in table.header
    assert "seconds in a pack" not in table.header
    assert rows(table)["head"]["seconds alone"] == "not measured"


def test_seconds_alone_and_in_packs_share_no_column() -> None:
    table = costs_table(
        study(
            Made("full", 0.9, metrics={"cost/train_seconds": 20.0}),
            Made("lora", 0.9, metrics={"cost/lane_seconds": 2.0}),
        )
    )
    assert rows(table)["full"]["seconds alone"] == "20"
    assert rows(table)["full"]["seconds in a pack"] == "not measured"
    assert rows(table)["lora"]["seconds in a pack"] == "2"


def test_the_base_as_it_is_comes_last() -> None:
    zero = {"target/accuracy_before": 0.125}
    table = arms_table(study(Made("full", 0.9, metrics=zero), Made("head", 0.5, metrics=zero)))
    last = rows(table)["zero-shot: the base as it is"]
    assert table.rows[-1][0] == "zero-shot: the base as it is"
    assert last["test accuracy"] == "12.50%"
    assert last["verdict"] == "not trained"


def test_equal_ranks_and_equal_budgets_stand_side_by_side() -> None:
    findings = study(
        Made("lora rank=4", params={"adapter.rank": "4"}, metrics={"params/trainable": 100.0}),
        Made("dora rank=4", params={"adapter.rank": "4"}, metrics={"params/trainable": 120.0}),
        Made("lora rank=9", params={"adapter.rank": "9"}),
        *(
            Made(
                name,
                params={"adapter.rank": rank},
                tags={"budget": "1%"},
                metrics={"budget/near": near},
            )
            for name, rank, near in (("lora rank=7", "7", 0.99), ("dora rank=6", "6", 0.97))
        ),
    )
    equal_rank, equal_budget = matched_tables(findings)
    assert equal_rank.title == "Equal rank"
    assert "of the budget" not in equal_rank.header
    assert {row[:2] for row in equal_rank.rows} == {
        ("rank 4", "lora rank=4"), ("rank 4", "dora rank=4"),
    }  # fmt: skip
    assert {(row[0], row[1], row[-1]) for row in equal_budget.rows} == {
        ("budget 1%", "lora rank=7", "99.0%"), ("budget 1%", "dora rank=6", "97.0%"),
    }  # fmt: skip
    assert matched_tables(study(Made("lora", params={"adapter.rank": "4"}), Made("head"))) == []


def test_an_arm_over_its_budget_has_no_verdict_among_those_within_it() -> None:
    findings = study(
        *(
            Made(name, 0.5 + near / 10, tags={"budget": "3000"}, metrics={"budget/near": near})
            for name, near in (("full", 3.2), ("lora", 0.9), ("head", 0.4))
        ),
    )
    (table,) = matched_tables(findings)
    assert [row[1] for row in table.rows] == ["lora", "head", "full"]  # the best comes last
    full = dict(zip(table.header, table.rows[-1], strict=True))
    assert (full["verdict"], full["letters"]) == ("not within the budget", "")
    assert full["of the budget"] == "320.0%"
    within = [row[table.header.index("verdict")] for row in table.rows[:-1]]
    assert not any("within" in verdict for verdict in within)
    (best, *_) = arms_table(findings).rows
    assert best[:2] == ("full", "reference; not within the budget")
    (said,) = [note for note in notes(findings) if "budget" in note]
    assert said.startswith("not within the budget that was asked for: full trains 320% of it")
    assert not [note for note in notes(study(Made("lora"))) if "budget" in note]


def test_the_report_says_which_accelerator_it_was_computed_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its facts are read by the names under which a run writes its machine."""

    def read(accelerator: str) -> dict[str, str]:
        machine = {f"hardware.{key}": value for key, value in fingerprint(accelerator).items()}
        return dict(facts(study(Made("lora", tags=machine))))

    on_cpu = read("cpu")
    assert {"processor", "instructions", "threads", "torch", "Lightning", "Python"} <= set(on_cpu)
    assert "GPU" not in on_cpu
    monkeypatch.setattr("adapterlab.training.hardware.resolve_accelerator", lambda _: "gpu")
    monkeypatch.setattr("torch.cuda.get_device_name", lambda: "a large one")
    assert read("gpu")["GPU"] == "a large one"


@pytest.fixture
def page() -> Page:
    figure = Figure()
    figure.text(0.5, 0.5, "a label")
    return Page(
        study=NASTY,
        about="2 arms",
        verdict=("One.", "Two.", "Three."),
        tables=[Table("Arms", ("arm", "verdict"), ((NASTY, "tie"), ("full", "reference")))],
        pictures=[Picture("accuracy", "Accuracy", "Dots are seeds.", svg_of(figure))],
        notes=[NASTY],
        facts=[("model", NASTY)],
        runs=Table("Runs", ("run_id",), (("1",),)),
    )


def test_the_page_needs_no_other_file_and_trusts_no_name(page: Page) -> None:
    html = as_html(page)
    assert "<script" not in html
    assert "&lt;script&gt;" in html
    sources = re.findall(r'(?:src|href)="([^"]*)"', html)
    assert all(source.startswith(("data:image/svg+xml;base64,", "#")) for source in sources)
    assert "http" not in re.sub(r"data:image[^\"]*", "", html)
    assert {anchor for anchor in sources if anchor.startswith("#")} <= {
        f"#{name}" for name in re.findall(r'id="([^"]*)"', html)
    }


def test_the_arm_comes_first_and_the_verdict_beside_it(page: Page) -> None:
    grouped = Table(
        "Equal rank",
        ("", "arm", "test accuracy", "verdict"),
        (("rank 4", "lora", "80.00%", "tie"), ("rank 4", "dora", "81.00%", "reference")),
    )
    arms = Table("Arms", ("arm", "seeds", "verdict"), (("full", "3", "tie"),))
    html = as_html(replace(page, tables=[arms, grouped]))
    heads = re.findall(r"<thead>(.*?)</thead>", html)
    assert [re.findall(r">([^<]+)</th>", head) for head in heads] == [
        ["arm", "verdict", "seeds"],
        ["arm", "verdict", "test accuracy"],
        ["run_id"],
    ]
    assert html.count("<span>rank 4</span>") == 1
    text = as_markdown(replace(page, tables=[arms, grouped]))
    assert "| arm | verdict | seeds |" in text
    assert "|  | arm | verdict | test accuracy |" in text


def test_what_a_column_means_is_said_where_it_stands(page: Page) -> None:
    arms = Table("Arms", ("arm", "verdict", "letters"), (("full", "tie", "a"),))
    for text in (as_html(replace(page, tables=[arms])), as_markdown(replace(page, tables=[arms]))):
        assert "letters: arms that share a letter are not told apart." in text
        assert "could have seen" not in text


def test_tables_and_figures_of_one_title_have_addresses_of_their_own(page: Page) -> None:
    table = page.tables[0]
    tables = [replace(table, title=title) for title in ("Accuracy", "<a b>", '"', "Notes")]
    html = as_html(replace(page, tables=tables))
    assert re.findall(r'id="([^"]*)"', html) == [
        *("accuracy", "a-b", "part", "notes-2", "accuracy-2", "notes")
    ]


def test_a_narrow_window_gets_the_narrow_picture(page: Page) -> None:
    (picture,) = page.pictures
    wide = as_html(page)
    assert "<source" not in wide
    assert "sideways" in wide
    both = as_html(replace(page, pictures=[replace(picture, narrow=b"<svg>thin</svg>")]))
    (source,) = re.findall(r'srcset="data:image/svg\+xml;base64,([^"]*)"', both)
    assert base64.b64decode(source) == b"<svg>thin</svg>"
    assert "sideways" not in both


def test_markdown_says_the_same(page: Page) -> None:
    text = as_markdown(page)
    rendered = MarkdownIt("commonmark").enable("table").render(text)
    assert "<script" not in rendered
    assert "<em>" not in rendered
    assert rendered.count("<tr>") == 3
    assert '<img src="figures/accuracy.png" alt="Accuracy" />' in rendered


def test_a_figure_is_the_same_bytes_and_keeps_its_texts(page: Page) -> None:
    def drawn() -> bytes:
        figure = Figure()
        figure.subplots().plot([1, 2], [3, 4], label="x")
        figure.text(0.5, 0.5, "a label")
        return svg_of(figure)

    assert drawn() == drawn()
    assert b"a label</text>" in drawn()
