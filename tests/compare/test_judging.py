"""From runs to words: what is concluded, what is left out, and how it is shown."""

from __future__ import annotations

import itertools

import pytest

from harness.commands.compare import BLOCKS
from harness.compare.campaign import Slot, is_hopeless, missing, unmasked
from harness.compare.curves import LINES, Curves
from harness.compare.folder import ComparisonFolder
from harness.compare.html import page
from harness.compare.judging import compare_blocks, curves_record, written
from harness.compare.markdown import markdown
from harness.compare.record import Comparison, CurvesRecord
from harness.compare.stored import against_stored
from harness.compare.text import render
from harness.errors import UsageError
from tests.compare.made import design, run, runs
from tests.report.browser import browser, program

INF = float("inf")
SYNC = {
    "p50": 1.0,
    "p95": 5.0,
    "done_p50": 1500.0,
    "done_p95": 2400.0,
    "backlog": 250.0,
    "achieved": 95.0,
    "memory": 58e6,
    "cpu": 1.5,
}
ASYNC = {**SYNC, "p50": 1.2, "done_p50": 107.0, "done_p95": 125.0, "backlog": 3.0}
BLOCKING = {**SYNC, "p50": 80.0, "p95": 900.0}


@pytest.fixture(scope="module")
def comparison() -> Comparison:
    return compare_blocks(
        design(), runs([{**SYNC, "broken_promises": 256.0}, {**ASYNC, "broken_promises": 7.0}]), {"cpu": "a cpu"}
    )


@pytest.fixture(scope="module")
def three() -> Comparison:
    labels = ("tasks=sync", "tasks=async", "tasks=blocking")
    return compare_blocks(design(labels), runs([SYNC, ASYNC, BLOCKING]), {})


def test_the_sentence_names_what_is_better_and_worse_the_gravest_first(comparison: Comparison) -> None:
    (found,) = comparison.contrasts
    assert found.sentence.startswith("tasks=async against tasks=sync: better in broken promises (7 instead of 253), done p95 (1")
    assert "worse in response p50" in found.sentence
    assert "equal in" in found.sentence or "Nothing can be said of" in found.sentence


def test_a_table_fits_a_terminal_of_80_columns_and_has_every_figure(comparison: Comparison, three: Comparison) -> None:
    for each in (comparison, three):
        text = render(each)
        assert max(map(len, text.splitlines())) <= 80, text
    assert render(comparison).count("✔ better") == 4
    assert "1 of 1" not in render(comparison)


def test_without_colour_and_unicode_every_meaning_is_still_in_a_word(comparison: Comparison) -> None:
    text = render(comparison, ascii_only=True)
    assert text.isascii()
    assert "+ better" in text
    assert "x worse" in text
    assert "\x1b[" in render(comparison, color=True)


def test_of_several_configurations_there_is_a_table_of_all(three: Comparison) -> None:
    lines = render(three).splitlines()
    head = next(number for number, line in enumerate(lines) if line.split()[:2] == ["response", "p95"])
    assert [line.split()[0] for line in lines[head + 1 : head + 4]] == ["tasks=sync", "tasks=async", "tasks=blocking"]
    assert "✖" in lines[head + 3]


def test_runs_that_cannot_be_used_are_left_out_and_told() -> None:
    made = runs([SYNC, ASYNC])
    spoilt = {(3, 1), (5, 0)}
    judged = compare_blocks(
        design(),
        [
            each
            if (each.block, each.configuration) not in spoilt
            else each.model_copy(update={"is_usable": False, "reasons": ["The generator was late."], "values": {"p50": 9999.0}})
            for each in made
        ],
        {},
    )
    assert judged.complete == 6
    assert next(each for each in judged.contrasts[0].figures if each.id == "p50").n == 6
    told = " ".join(judged.notes)
    assert "1 run of tasks=async could not be used" in told
    assert "The generator was late." in told


def test_a_run_that_was_done_again_counts_and_the_first_does_not() -> None:
    made = runs([SYNC, ASYNC])
    bad = made[0].model_copy(update={"is_usable": False, "reasons": ["Bad."]})
    judged = compare_blocks(design(), [bad, *made], {})
    assert judged.complete == 8
    assert any("all of them were done again" in note for note in judged.notes)


def test_findings_that_only_one_of_them_has_are_the_why() -> None:
    finding = {"pool-saturated": "The pool is the bottleneck."}
    made = [
        each.model_copy(update={"findings": {**(finding if each.configuration == 0 else {}), "loses": "Both lose."}})
        for each in runs([SYNC, ASYNC])
    ]
    (why,) = compare_blocks(design(), made, {}).contrasts[0].why
    assert (why.id, why.of, why.runs, why.runs_without) == ("pool-saturated", "base", 8, 0)


def test_work_that_is_never_done_is_worse_than_work_that_is() -> None:
    judged = compare_blocks(design(), runs([ASYNC, ASYNC], never=[1]), {})
    found = next(each for each in judged.contrasts[0].figures if each.id == "done_p95")
    assert (found.decision, found.direction, found.never_other) == ("different", "worse", 8)
    assert "0→8 never" in render(judged)


@pytest.mark.parametrize(
    ("values", "middle"),
    [([INF] * 7 + [100.0], None), ([INF] + [100.0] * 7, 100.0), ([None] * 7 + [100.0], 100.0), ([INF, None, None, 100.0], None)],
)
def test_a_line_has_a_gap_where_the_work_of_most_runs_was_never_done(values: list[float | None], middle: float | None) -> None:
    """One run of eight that came through would else be drawn as if it were all of them."""
    made = [
        # As they are read again from the file.
        run(number, 0, {}, curves=CurvesRecord.model_validate_json(written(line(value)).model_dump_json()))
        for number, value in enumerate(values, 1)
    ]
    found = curves_record(made)
    assert found.lines["done_p95_ms"] == [middle]
    assert found.never == ({} if middle else {"done_p95_ms": [0]})


def line(value: float | None) -> Curves:
    return Curves(1.0, {**dict.fromkeys(LINES, (1.0,)), "done_p95_ms": (value,)})


def test_equal_configurations_are_said_to_be_equal() -> None:
    judged = compare_blocks(design(), runs([SYNC, SYNC], noise=0.005), {})
    assert judged.contrasts[0].sentence.startswith("tasks=async and tasks=sync are equal in all 8 figures")


def test_what_cannot_be_told_says_how_many_blocks_would_be_needed() -> None:
    judged = compare_blocks(design(), runs([SYNC, SYNC], noise=0.3), {})
    assert "no difference that 8 blocks can show in" in judged.contrasts[0].sentence
    assert "blocks would be needed" in judged.contrasts[0].sentence


def test_a_baseline_of_before_is_held_against_its_namesakes(comparison: Comparison) -> None:
    slower = compare_blocks(design(), runs([SYNC, {**ASYNC, "done_p95": 250.0}], seed=5), {"hash": "other"})
    found = against_stored(slower, comparison, "main.json")
    assert found.stored is not None
    (sync, asynchronous) = found.stored.contrasts
    assert not any(each.decision == "different" for each in sync.figures if each.id != "broken_promises")
    assert next(each for each in asynchronous.figures if each.id == "done_p95").direction == "worse"
    assert any("another" in note for note in found.stored.notes)
    with pytest.raises(UsageError, match="is of email, and this is cache"):
        against_stored(slower.model_copy(update={"title": "cache"}), comparison, "main.json")


def test_markdown_says_the_same_in_a_table(comparison: Comparison) -> None:
    text = markdown(comparison)
    assert "| done p50 |" in text
    assert "✔ better" in text


@pytest.mark.skipif(program() is None, reason="there is no Chromium here")
def test_the_page_draws_every_configuration_without_a_complaint(
    three: Comparison, tmp_path_factory: pytest.TempPathFactory
) -> None:
    hostile = "</script><script>window.hacked=1</script>"
    first, *others = three.configurations
    attacked = three.model_copy(
        update={"configurations": [first.model_copy(update={"label": hostile}), *others], "notes": [hostile], "title": hostile}
    )
    folder = tmp_path_factory.mktemp("page")
    file = folder / "comparison.html"
    file.write_text(page(attacked, version="0"), encoding="utf-8")
    with browser(folder / "profile") as chromium, chromium.page(file, width=400, dark=True) as opened:
        opened.until("document.documentElement.dataset.ready === 'yes'")
        assert opened.run("document.querySelectorAll('[data-chart] canvas').length") == 4
        assert opened.run("charts[0].series.length - 1") == 3
        assert opened.run("document.documentElement.scrollWidth <= innerWidth")
        assert opened.run("window.hacked ?? null") is None
        assert opened.problems == []


def test_runs_are_made_block_by_block_and_only_those_that_are_missing() -> None:
    asked = design(blocks=3)
    assert [(slot.block, slot.configuration) for slot in missing(asked, [])] == [(1, 0), (1, 1), (2, 1), (2, 0), (3, 0), (3, 1)]
    made = runs([SYNC, ASYNC], blocks=2)
    assert [(slot.block, slot.configuration, slot.attempt) for slot in missing(asked, made)] == [(3, 0, 1), (3, 1, 1)]


def test_a_run_that_cannot_be_used_is_made_again_once() -> None:
    asked, made = design(blocks=1), runs([SYNC, ASYNC], blocks=1)
    bad = made[0].model_copy(update={"is_usable": False})
    assert list(missing(asked, [bad, made[1]])) == [Slot(1, 1, 0, 2)]
    assert list(missing(asked, [bad, bad.model_copy(update={"attempt": 2}), made[1]])) == []


def test_a_configuration_that_never_works_is_given_up() -> None:
    asked = design(blocks=BLOCKS)
    bad = [
        run(block, 1, {}, is_usable=False, attempt=attempt, verdict="INCONCLUSIVE")
        for block, attempt in itertools.product((1, 2, 3), (1, 2))
    ]
    left = list(missing(asked, bad))
    assert {slot.configuration for slot in left} == {0}


def test_where_no_run_of_the_first_block_can_be_used_no_second_one_is_made() -> None:
    """All would go the same way, e.g., a fault after the end of the load."""
    asked = design(blocks=BLOCKS)
    bad = [
        run(1, configuration, {}, is_usable=False, attempt=attempt, verdict="INCONCLUSIVE", reasons=["it landed too late"])
        for configuration, attempt in itertools.product((0, 1), (1, 2))
    ]
    assert [is_hopeless(asked, bad[:n]) for n in range(5)] == [False, False, False, False, True]
    assert not is_hopeless(asked, [*bad[:3], run(1, 1, {}, attempt=2)])
    # Who goes on with it all the same gets the next block, and no more if that is no better.
    assert {slot.block for slot in itertools.islice(missing(asked, bad), 2)} == {2}
    assert is_hopeless(asked, [*bad, *(each.model_copy(update={"block": 2}) for each in bad)])
    text = render(compare_blocks(asked, bad, {}))
    assert "Nothing could be compared" in text
    assert "95 % interval" not in text
    assert "it landed too late" in " ".join(text.split())


def test_secrets_are_in_no_file_and_in_every_run() -> None:
    values = {
        "requests": [{"method": "GET", "path": "/", "headers": {"Authorization": "$AFTERLOAD_AUTHORIZATION", "X": "$OTHER"}}]
    }
    found = unmasked(values, {"AFTERLOAD_AUTHORIZATION": "Bearer s3cret"})
    assert found["requests"][0]["headers"] == {"Authorization": "Bearer s3cret", "X": "$OTHER"}


def test_a_line_that_a_crash_cut_off_loses_that_run_alone(tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("folder") / "it"
    folder = ComparisonFolder.create("email", path, design())
    made = runs([SYNC, ASYNC], blocks=2)
    for each in made[:2]:
        folder.add(each)
    whole = (path / "runs.jsonl").read_bytes()
    (path / "runs.jsonl").write_bytes(whole + made[2].model_dump_json().encode()[:100])
    assert folder.runs() == made[:2]
    folder.add(made[2])
    assert folder.runs() == made[:3]


def test_a_line_that_cannot_be_read_is_told_and_not_made_again(tmp_path_factory: pytest.TempPathFactory) -> None:
    """E.g., of another version: its run directory would be removed to make room."""
    path = tmp_path_factory.mktemp("folder") / "it"
    folder = ComparisonFolder.create("email", path, design())
    for each in runs([SYNC, ASYNC], blocks=2):
        folder.add(each)
    whole = (path / "runs.jsonl").read_text()
    (path / "runs.jsonl").write_text(whole.replace('"place":2', '"place":"two"', 1), encoding="utf-8")
    with pytest.raises(UsageError, match=r"runs\.jsonl is damaged: line 2: place: .*integer") as told:
        folder.runs()
    assert told.value.hint == "remove the line to have its run made again"


def test_nobody_goes_on_with_a_comparison_that_goes_on(tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("folder") / "it"
    held = ComparisonFolder.create("email", path, design())
    with pytest.raises(UsageError, match="goes on: another afterload"):
        ComparisonFolder.open(path).claim()
    assert held.design() == design()
