"""What a search came to, as people and programs read it: text, page, Markdown, JSON."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema_rs
import pytest

from harness.capacity.folder import Folder
from harness.capacity.schema import Capacity
from harness.capacity.text import render
from harness.capacity.writing import collect, write
from harness.errors import UsageError
from tests.capacity.made import searched_in
from tests.report import browser


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """Two configurations, the second half as fast."""
    return searched_in(tmp_path_factory.mktemp("capacity") / "it", ("pool=10", "pool=5"))


@pytest.fixture(scope="module")
def found(folder: Folder) -> Capacity:
    found = collect(folder)
    write(folder, found)
    return found


def test_the_text_says_the_interval_what_gives_way_and_every_rate(found: Capacity) -> None:
    text = render(found)
    first = found.configurations[0]
    assert "email pool=10: 97.3/s to 102/s" in text
    assert "The capacity is between 97.3/s and 102/s; 97.5/s held a longer stage." in " ".join(text.split())
    assert "the pool is full: 10 threads" in " ".join(text.split())
    assert all(f"{point.rate:.3g}/s" in text for point in first.curve)


@pytest.mark.parametrize("width", [60, 80, 100])
def test_no_line_is_wider_than_the_terminal(found: Capacity, width: int) -> None:
    lines = render(found, width=width).splitlines()
    assert max(map(len, lines)) <= max(width, 80)


def test_the_text_can_be_plain_ascii_and_coloured(found: Capacity) -> None:
    plain = render(found, ascii_only=True)
    assert set("✔✖█▏") & set(render(found))
    assert not set("✔✖█▏") & set(plain)
    assert "\x1b[" in render(found, color=True)


def test_configurations_stand_side_by_side(found: Capacity) -> None:
    head = render(found).splitlines()[:4]
    assert "2 configurations" in head[0]
    assert "pool=10" in head[1]
    assert "pool=5" in head[2]
    answers = [each.answer.found or 0.0 for each in found.configurations]
    assert answers[1] == pytest.approx(answers[0] / 2, rel=0.1)


def test_the_json_has_its_published_schema(folder: Folder, found: Capacity) -> None:
    written = json.loads((folder.path / "capacity.json").read_text(encoding="utf-8"))
    schema = json.loads((Path(__file__).parents[2] / "docs" / "capacity.schema.json").read_text(encoding="utf-8"))
    jsonschema_rs.validate(schema, written)
    assert Capacity.model_validate(written) == found


def test_the_markdown_has_a_row_for_every_rate(folder: Folder, found: Capacity) -> None:
    text = (folder.path / "capacity.md").read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if line.startswith(("| ✅", "| ❌"))]
    assert len(rows) == sum(len(each.curve) for each in found.configurations)
    assert "| pool=5 |" in text


@pytest.mark.skipif(browser.program() is None, reason="there is no Chromium here")
def test_the_page_draws_its_charts_and_complains_of_nothing(folder: Folder, found: Capacity, tmp_path: Path) -> None:
    """Three for each configuration, in the light and in the dark, and nothing is asked of the network."""
    with browser.browser(tmp_path / "profile") as chromium, chromium.page(folder.path / "capacity.html") as page:
        page.until("document.querySelectorAll('.chart canvas').length === 6")
        page.run("document.getElementById('theme').click()")
        page.until("document.querySelectorAll('.chart canvas').length === 6")
        assert page.problems == []
        assert all(address.startswith(("file:", "data:")) for address in page.requested)
        assert page.run("document.body.innerText.includes('97.3/s to 102/s')")
        assert page.run("document.documentElement.scrollWidth <= innerWidth")


def test_a_search_that_was_cut_off_says_what_is_known_by_then(tmp_path: Path) -> None:
    folder = searched_in(tmp_path / "it", stages=3)
    with (folder.path / "stages.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"number": 4, "purp')
    answer = collect(folder).configurations[0].answer
    assert answer.state == "unfinished"
    assert answer.found is not None
    assert "not finished" in answer.text


def test_what_was_measured_and_cannot_be_read_is_not_measured_again(tmp_path: Path) -> None:
    """To go on would write over the stages behind it."""
    folder = searched_in(tmp_path / "it", stages=3)
    stages = folder.path / "stages.jsonl"
    stages.write_text(stages.read_text().replace('"number":2', '"number":"two"'), encoding="utf-8")
    with pytest.raises(UsageError, match=r"stages\.jsonl is damaged: line 2: .*integer"):
        collect(folder)


def test_two_do_not_go_on_with_the_same_search(tmp_path: Path) -> None:
    folder = searched_in(tmp_path / "it", stages=1)
    with pytest.raises(UsageError, match="goes on: another afterload is at it"):
        Folder.existing(folder.path)


def test_a_directory_of_something_else_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"is no directory of a search: design\.json"):
        Folder.existing(tmp_path)
    (tmp_path / "design.json").write_text("{}", encoding="utf-8")
    with pytest.raises(UsageError, match="is damaged"):
        Folder.existing(tmp_path)
