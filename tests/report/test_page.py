"""The page as a browser shows it. It is looked at in the light, in the dark, on paper and on a telephone."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.report.html import page
from harness.schema import Finding
from harness.summary import Judged

from .browser import Browser, Page, browser, program
from .conftest import HOSTILE_ROUTE, HOSTILE_TASK

pytestmark = pytest.mark.skipif(program() is None, reason="there is no Chromium here")

HOSTILE_TEXT = "</script><script>window.hacked=1</script><img src='https://example.org/x' onerror='window.hacked=2'>"
HEADLINES = {
    "verdict",
    *(f"requests.{name}" for name in ("attempted", "acked", "rejected", "indeterminate")),
    *(f"requests.response_ms.{name}" for name in ("p50", "p95", "p99", "max")),
    *(f"tasks.{name}" for name in ("accepted", "finished", "interrupted", "never_started", "lost", "broken_promises")),
    *(f"tasks.{name}" for name in ("effects", "backlog_max", "never_done", "recovered")),
    *(f"tasks.done_ms.{name}" for name in ("p50", "p95", "p99", "max")),
    *("pool.size", "pool.saturated_s", "requests.offered_per_s", "requests.achieved_per_s"),
    *("boots.0.queued_at_death", "boots.0.recovery_s", "routes.0.response_ms.p99", "functions.1.lost"),
}


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("browser") / "profile") as found:
        yield found


@pytest.fixture(scope="module")
def hostile(judged: Judged) -> Judged:
    """A run in which every text that others give is an attack, also those that the charts have."""
    finding = Finding(id="x", severity="critical", text=HOSTILE_TEXT, evidence={"<b>": HOSTILE_TEXT})
    about = {
        "findings": [finding],
        "reasons": [HOSTILE_TEXT],
        "plan": {**judged.summary.plan, "command": [HOSTILE_TEXT]},
        "faults": [judged.summary.faults[0].model_copy(update={"kind": HOSTILE_TEXT, "ends_boot": False})],
        "environment": {"cpu": HOSTILE_TEXT, "packages": {"<i>": HOSTILE_TEXT}},
    }
    return dataclasses.replace(judged, summary=judged.summary.model_copy(update=about))


@pytest.fixture(scope="module")
def file(hostile: Judged, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(page(hostile, name=HOSTILE_TEXT, version="0"), encoding="utf-8")
    return path


def shown(page: Page) -> Page:
    page.until("document.documentElement.dataset.ready === 'yes'")
    return page


@pytest.mark.parametrize(("width", "dark"), [(1200, False), (1200, True), (400, False), (400, True)])
def test_it_draws_without_a_complaint_and_asks_nobody_for_anything(
    chromium: Browser, file: Path, tmp_path: Path, width: int, dark: bool
) -> None:
    """No error in the console, nothing refused by its own policy, no request but for the file, and no sideways scrolling."""
    with chromium.page(file, width=width, dark=dark) as opened:
        shown(opened)
        opened.screenshot(tmp_path / "page.png")
        drawn = opened.run(
            "[...document.querySelectorAll('[data-chart] canvas')].map((canvas) => {"
            " const pixels = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;"
            " return new Set(Array.from({length: pixels.length / 4}, (_, at) => pixels[4 * at] * 65536 + pixels[4 * at + 1] * 256"
            " + pixels[4 * at + 2])).size; })"
        )
        ground = opened.run("getComputedStyle(document.documentElement).backgroundColor")
        wide = opened.run("document.documentElement.scrollWidth")

        assert opened.problems == []
        assert [file.as_uri()] == opened.requested
        assert len(drawn) == len(re.findall(r"data-chart=", file.read_text()))
        assert min(drawn) > 5, "every chart has something on it"
        assert wide <= width
        assert ("rgb(16, 21, 27)" if dark else "rgb(255, 255, 255)") == ground


def test_on_paper_it_is_light_and_all_of_it_is_there(chromium: Browser, file: Path, tmp_path: Path) -> None:
    with chromium.page(file, dark=True) as opened:
        shown(opened)
        opened.run("addEventListener('beforeprint', () => { window.theme_then = document.documentElement.dataset.theme; })")
        printed = opened.printed(tmp_path / "page.pdf")

        assert opened.run("window.theme_then") == "light"
        assert opened.run("document.documentElement.dataset.theme ?? null") is None, "and it is as it was afterwards"
        assert opened.problems == []
        assert printed.read_bytes().startswith(b"%PDF")


def test_its_figures_are_those_of_the_summary(chromium: Browser, file: Path, hostile: Judged) -> None:
    """Each figure names its path in summary.json, and has the very value that stands there."""
    with chromium.page(file) as opened:
        shown(opened)
        found = opened.run(
            "[...document.querySelectorAll('[data-path]')]"
            ".map((each) => [each.dataset.path, each.getAttribute('value') ?? each.textContent])"
        )
    summary = json.loads(hostile.summary.model_dump_json())

    assert {path for path, _ in found} >= HEADLINES
    for path, value in found:
        expected = summary
        for step in path.split("."):
            expected = expected[int(step)] if isinstance(expected, list) else expected[step]
        assert str("" if expected is None else expected) == value, path


def test_names_and_texts_that_are_code_are_shown_and_do_nothing(chromium: Browser, file: Path) -> None:
    with chromium.page(file) as opened:
        shown(opened)

        assert opened.run("window.hacked ?? null") is None
        assert opened.run("document.querySelectorAll('img, main b[onclick], main script, main i').length") == 0
        text = opened.run("document.body.textContent")
        for said in (HOSTILE_ROUTE, HOSTILE_TASK, HOSTILE_TEXT):
            assert said in text
        assert opened.problems == []


def test_its_policy_lets_nothing_else_run(chromium: Browser, file: Path, tmp_path: Path) -> None:
    """Were a text not escaped after all, what is in it would still not run."""
    broken = tmp_path / "broken.html"
    broken.write_text(
        file.read_text().replace("<main>", "<main><script>window.hacked = 3</script><img src=x onerror='window.hacked=4'>")
    )
    with chromium.page(broken) as opened:
        shown(opened)

        assert opened.run("window.hacked ?? null") is None
        assert any("Content Security Policy" in problem for problem in opened.problems)


def test_the_values_at_the_cursor_are_exact_and_the_keyboard_finds_them_too(chromium: Browser, file: Path) -> None:
    with chromium.page(file) as opened:
        shown(opened)
        x, y, width, height = opened.run(
            "(() => { const box = document.querySelector('[data-chart=scissors] .u-over').getBoundingClientRect();"
            " return [box.x, box.y, box.width, box.height]; })()"
        )
        opened.move(x + width * 0.3, y + height / 2)
        opened.until("!document.getElementById('tip').hidden")
        at = opened.run("current")
        told = opened.run("document.getElementById('tip').textContent")
        assert opened.run(f"durationMs(lines.response_p95_ms[{at}])") in told
        assert opened.run(f"'backlog, at most' + count(lines.backlog_max[{at}])") in told

        opened.run("document.getElementById('panels').focus()")
        opened.key("ArrowRight")
        assert at + 1 == opened.run("current")
        assert opened.run(f"durationMs(lines.response_p95_ms[{at + 1}])") in opened.run(
            "document.getElementById('tip').textContent"
        )


def test_a_part_that_is_dragged_over_is_shown_by_all_charts(chromium: Browser, file: Path) -> None:
    with chromium.page(file, height=1400) as opened:
        shown(opened)
        x, y, width, height = opened.run(
            "(() => { const box = document.querySelector('[data-chart=backlog] .u-over').getBoundingClientRect();"
            " return [box.x, box.y, box.width, box.height]; })()"
        )
        opened.drag(x + width * 0.25, x + width * 0.5, y + height / 2)
        opened.until("charts.every((each) => each.scales.x.max < story.span_s * 0.6)")

        low, high = opened.run("[charts[0].scales.x.min, charts[0].scales.x.max]")
        assert 0.2 < low / opened.run("story.span_s") < 0.3
        assert 0.45 < high / opened.run("story.span_s") < 0.55


def test_the_switch_turns_the_dark_on(chromium: Browser, file: Path) -> None:
    with chromium.page(file) as opened:
        shown(opened)
        opened.run("document.getElementById('theme').click()")

        assert opened.run("getComputedStyle(document.documentElement).backgroundColor") == "rgb(16, 21, 27)"
        assert opened.run("document.getElementById('theme').textContent") == "light"
        assert opened.problems == []
