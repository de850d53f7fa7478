"""The published grid: seven scenarios, four kinds of tasks, three engines, the same kill; what docs/findings.md rests on.

    python -m docs.grid run [SCENARIO...]    makes the comparisons, about seven minutes each; goes on where it stopped
    python -m docs.grid keep                 writes their figures into docs/results/, and with them the pages renewed
    python -m docs.grid renew                writes the figures of docs/results/ into the pages again

A figure in a page is written `<!-- grid: SCENARIO TASKS ENGINE FIGURE -->1.24 s<!-- / -->`, a table of a scenario stands between
`<!-- grid: SCENARIO -->` and `<!-- end of grid -->`; a test keeps both true. A figure is the median of the blocks.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from harness.compare.loading import read_comparison
from harness.compare.quantities import QUANTITIES
from harness.compare.record import Comparison, RunRecord
from harness.compare.words import value_of
from harness.schema import Summary
from harness.wording import figure

__all__ = ["ENGINES", "PAGES", "SCENARIOS", "TASKS", "command_of", "kept", "read_results", "renewed", "shown", "table"]

ROOT: Final = Path(__file__).parents[1]
RESULTS: Final = ROOT / "docs" / "results"
PAGES: Final = (ROOT / "docs" / "findings.md", ROOT / "docs" / "results" / "README.md", ROOT / "README.md")
MADE: Final = Path("comparisons") / "grid"

SCENARIOS: Final = ("email", "webhook", "analytics", "files", "cache", "action", "flaky")
TASKS: Final = ("sync", "async", "blocking", "inline")
ENGINES: Final = ("rust", "uvicorn", "granian")
VARIED: Final = ("--vary", f"tasks={','.join(TASKS)}", "--vary", f"engine={','.join(ENGINES)}")
# Killed just before the load ends: the answers are those of a server that is there, and the loss is that of a deploy.
OPTIONS: Final = ("--for", "6s", "--fault", "kill@5.9s", "--blocks", "4", "--settle", "0.3s")
REQUESTS: Final = ("attempted", "acked", "rejected", "indeterminate")
ENDS: Final = ("accepted", "finished", "failed", "skipped", "interrupted", "never_started")
COLUMNS: Final = ("p50", "p95", "done_p50", "achieved", "finished", "broken_promises", "cpu", "memory")

_FIGURE: Final = re.compile(r"(<!-- grid: (\w+) (\w+) (\w+) (\w+) -->)(.*?)(<!-- / -->)")
_TABLE: Final = re.compile(r"(<!-- grid: (\w+) -->)\n.*?(<!-- end of grid -->)", re.DOTALL)

Results = Mapping[str, Any]


def command_of(scenario: str) -> str:
    """The command that makes one comparison of the grid."""
    return " ".join(["afterload", "compare", scenario, *VARIED, *OPTIONS])


def kept(folder: Path, scenario: str) -> dict[str, Any]:
    """What is published of a comparison: its plan, its machine, and the figures of each run.

    A figure is a list with a number for each run: null, there is none; "never", it never ended. Raises ValueError if the
    comparison was made by another command than is shown.
    """
    comparison = read_comparison(folder)
    _require_command(comparison, scenario)
    configurations = []
    for number, configuration in enumerate(comparison.configurations):
        runs = [run for run in comparison.runs if run.configuration == number and run.is_usable]
        summaries = [Summary.model_validate_json((folder / run.directory / "summary.json").read_bytes()) for run in runs]
        configurations.append(
            {
                **configuration.values,
                "figures": {name: [_value(run, name) for run in runs] for name in QUANTITIES},
                "counts": {
                    **{f"requests_{name}": [getattr(each.requests, name) for each in summaries] for name in REQUESTS},
                    **{name: [getattr(each.tasks, name) for each in summaries] for name in ENDS},
                },
                "world": {
                    each.id: {"unit": each.unit, "values": [_of_world(summary, each.id) for summary in summaries]}
                    for each in (summaries[0].scenario.figures if summaries[0].scenario else ())
                },
                "findings": sorted({name for run in runs for name in run.findings}),
            }
        )
    plan = {name: value for name, value in comparison.configurations[0].plan.items() if name not in {"tasks", "engine"}}
    return {
        "command": command_of(scenario),
        "began": comparison.began,
        "plan": plan,
        "machine": comparison.environment,
        "notes": comparison.notes,
        "configurations": configurations,
    }


def _require_command(comparison: Comparison, scenario: str) -> None:
    """By hand, as the options of a command are not written down but what they came to."""
    plan = comparison.configurations[0].plan
    factors = {each.key: tuple(each.values) for each in comparison.factors}
    made = (plan["scenario"], plan["for_s"], plan["faults"], comparison.blocks, factors)
    if made != (scenario, 6.0, ["kill@5.9s"], 4, {"tasks": TASKS, "engine": ENGINES}):
        raise ValueError(f"the comparison of {scenario} was not made by {command_of(scenario)}: {made}")


def shown(results: Results, tasks: str, engine: str, name: str) -> str:
    """The median of the blocks in its unit: a figure that is compared, a count of tasks, or one of what is left in the world.

    Raises KeyError if there is no such configuration or figure.
    """
    found = _configuration(results, tasks, engine)
    if name in found["figures"]:
        return value_of(_median(found["figures"][name]), name)
    if name in found["counts"]:
        return _count(_median(found["counts"][name]))
    of_world = found["world"][name]
    value = _median(of_world["values"])
    return figure(value, of_world["unit"]) if of_world["unit"] in {"s", "ms", "%"} else _count(value)


def table(results: Results) -> str:
    """A row for each configuration: medians, and below them the lowest and the highest of the blocks."""
    heads = [QUANTITIES[name].title for name in COLUMNS]
    lines = [f"| tasks | engine | {' | '.join(heads)} |", f"|---|---|{'---:|' * len(heads)}"]
    for each in results["configurations"]:
        cells = [_cell(each["figures"][name], name) for name in COLUMNS]
        lines.append(f"| {each['tasks']} | {each['engine']} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def renewed(text: str, results: Mapping[str, Results]) -> str:
    """A page with the figures of the results in their places."""
    text = _FIGURE.sub(lambda found: f"{found[1]}{shown(results[found[2]], found[3], found[4], found[5])}{found[7]}", text)
    return _TABLE.sub(lambda found: f"{found[1]}\n{_about(results[found[2]])}\n{table(results[found[2]])}{found[3]}", text)


def read_results() -> dict[str, Results]:
    """All that are published."""
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(RESULTS.glob("*.json"))}


def _about(results: Results) -> str:
    plan = results["plan"]
    n_runs = sorted({len(each["figures"]["p50"]) for each in results["configurations"]})
    how = f"{plan['rate']:g} requests/s, a pool of {plan['pool']}, medians of {' or '.join(map(str, n_runs))} runs"
    return f"`{results['command']}`\n\n{how}.\n"


def _configuration(results: Results, tasks: str, engine: str) -> Mapping[str, Any]:
    for each in results["configurations"]:
        if (each["tasks"], each["engine"]) == (tasks, engine):
            found: Mapping[str, Any] = each
            return found
    raise KeyError(f"there is no configuration tasks={tasks} engine={engine}")


def _value(run: RunRecord, name: str) -> float | str | None:
    return "never" if name in run.never else run.values.get(name)


def _of_world(summary: Summary, name: str) -> float | None:
    return next((each.value for each in (summary.scenario.figures if summary.scenario else ()) if each.id == name), None)


def _numbers(values: Sequence[float | str | None]) -> list[float]:
    return [math.inf if isinstance(value, str) else value for value in values if value is not None]


def _median(values: Sequence[float | str | None]) -> float:
    """Raises ValueError if a run has no such figure: a median of the others would be of something else."""
    numbers = _numbers(values)
    if len(numbers) < len(values) or not values:
        raise ValueError(f"{len(values) - len(numbers)} of {len(values)} runs have no such figure")
    return statistics.median(numbers)


def _count(value: float) -> str:
    return f"{value:,.0f}" if value == round(value) else f"{value:,.1f}"


def _cell(values: Sequence[float | str | None], name: str) -> str:
    numbers = _numbers(values)
    if not numbers:
        return "–"
    low, middle, high = (value_of(each, name) for each in (min(numbers), statistics.median(numbers), max(numbers)))
    of = f" ({len(numbers)} of {len(values)})" if len(numbers) < len(values) else ""
    return f"{middle}{of}" if low == high else f"{middle}{of}<br>{low} … {high}"


def _run(scenarios: Sequence[str]) -> None:
    for scenario in scenarios:
        out = MADE / scenario
        if (out / "comparison.json").exists() and (found := read_comparison(out)).complete == found.blocks:
            continue
        is_begun = (out / "design.json").exists()
        given = ["--resume", str(out)] if is_begun else [scenario, *VARIED, *OPTIONS, "--out", str(out)]
        status = subprocess.run([sys.executable, "-m", "harness", "compare", *given], check=False).returncode
        if status not in {0, 4}:
            sys.exit(f"{scenario}: afterload compare ended with status {status}; the same command goes on with it")


def _renew() -> None:
    results = read_results()
    for page in PAGES:
        page.write_text(renewed(page.read_text(encoding="utf-8"), results), encoding="utf-8")


def main() -> None:
    """Follows one of the commands above."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="what", required=True)
    commands.add_parser("run").add_argument("scenarios", nargs="*", choices=SCENARIOS, default=list(SCENARIOS))
    commands.add_parser("keep").add_argument("folder", nargs="?", type=Path, default=MADE)
    commands.add_parser("renew")
    given = parser.parse_args()
    if given.what == "run":
        _run(given.scenarios)
        return
    if given.what == "keep":
        RESULTS.mkdir(exist_ok=True)
        for scenario in SCENARIOS:
            text = json.dumps(kept(given.folder / scenario, scenario), indent=1)
            # A list of the blocks on one line: a change of one figure is to be one line, too.
            text = re.sub(r"\[\s+((?:[^\[\]{}]|\n)*?)\s+\]", lambda found: f"[{' '.join(found[1].split())}]", text)
            (RESULTS / f"{scenario}.json").write_text(text + "\n", encoding="utf-8")
    _renew()


if __name__ == "__main__":
    main()
