"""Plans: what a run writes down can be run again, options win over a file, and mistakes are named with what is allowed."""

from __future__ import annotations

import itertools
import json
import tomllib
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from click.testing import CliRunner, Result

from docs.planschema import described_keys, plan_schema_text
from harness.commands.main import main
from harness.errors import UsageError
from harness.merging import merged
from harness.plan import Plan
from scenarios.registry import NAMES, find

ROOT = Path(__file__).resolve().parents[2]
EMAIL: dict[str, Any] = {"scenario": "email", "pool": 4, "rate": 40.0, "for_s": 10.0}
OWN: dict[str, Any] = {"command": ("uvicorn", "main:app", "--port", "{port}"), "rate": 50.0, "for_s": 10.0}

PLANS: list[dict[str, Any]] = [
    *(
        {**EMAIL, "scenario": name, "engine": engine, "tasks": tasks}
        for name, engine, tasks in itertools.product(
            NAMES, ("rust", "uvicorn", "granian"), ("sync", "async", "blocking", "inline")
        )
    ),
    {**EMAIL, "order": "parallel", "on_error": "stop", "queue_limit": 10, "faults": ("kill@3s", "term@6s"), "seed": 7},
    {**EMAIL, "slos": ("p99<50ms", 'scenario.figures."a b".value<1', "p99<50ms@2s"), "allow": ("noise",)},
    {**EMAIL, "settings": {"delay": "5ms", "failures": "0.1"}, "arrivals": "poisson", "warm_up_s": 0.25},
    {**EMAIL, "rate": None, "for_s": None, "stages": ("50 for 10s", "50..200 for 20s"), "arrivals": "poisson"},
    {**EMAIL, "rate": None, "replay": "/somewhere/times.jsonl", "replay_field": "at", "replay_speed": 2.0},
    {**EMAIL, "rate": None, "users": 20, "think_s": 1.0, "think_spread": "exponential"},
    {**EMAIL, "rate": None, "users": 20, "spawn_rate": 5.0, "think_s": 0.5},
    OWN,
    {
        **OWN,
        "requests": (
            {"method": "POST", "path": "/orders", "body": '{"op": "{op}"}', "headers": {"x-a": "b"}, "weight": 3.0},
            {"method": "get", "path": "/orders/{n}"},
        ),
    },
    {**OWN, "openapi": "auto", "openapi_only": ("POST /orders",), "openapi_exclude": ("DELETE *",)},
    {**OWN, "openapi": "auto", "openapi_headers": {"x-a": "b"}},
    {**OWN, "rate": None, "locustfile": "/somewhere/locustfile.py", "users": 20, "loop": None},
    {**OWN, "command": ("python", "main.py"), "port": 8123, "ready": "/healthz", "ready_s": 5.0, "cwd": "/somewhere"},
]


def name_of(values: dict[str, Any]) -> str:
    return "-".join(str(values.get(key, "")) for key in ("scenario", "engine", "tasks", "seed"))


@pytest.mark.parametrize("values", PLANS, ids=name_of)
def test_a_plan_that_was_written_down_is_the_same_plan(values: dict[str, Any]) -> None:
    """Of every scenario, on every engine, with every kind of task, and of apps of one's own."""
    plan = Plan.of(values, "test")
    text = plan.to_toml()

    assert Plan.of(tomllib.loads(text), "test") == plan
    assert Plan.of(tomllib.loads(text), "test").to_toml() == text


@pytest.mark.parametrize("values", PLANS, ids=name_of)
def test_the_published_schema_allows_what_afterload_writes(values: dict[str, Any]) -> None:
    """Editors check a plan by it."""
    validator = jsonschema_rs.validator_for(json.loads(plan_schema_text()))
    assert [error.message for error in validator.iter_errors(tomllib.loads(Plan.of(values, "test").to_toml()))] == []


def test_the_published_schema_allows_stages_as_a_list() -> None:
    validator = jsonschema_rs.validator_for(json.loads(plan_schema_text()))
    assert validator.is_valid(tomllib.loads('scenario = "email"\nstages = ["50 for 10s", "50..200 for 20s"]'))
    assert not validator.is_valid(tomllib.loads('scenario = "email"\nstages = [50]'))


@pytest.mark.parametrize(
    "text",
    [
        "rate = 5",
        'scenario = "email"\nrtae = 5',
        'scenario = "email"\nrate = "5"',
        'scenario = "email"\nrate = -5',
        'scenario = "email"\norder = "random"',
        'scenario = "email"\nfaults = "kill@5s"',
        'command = ["x", "{port}"]\nrequests = [{method = "GET"}]',
        'command = ["x", "{port}"]\nrequests = [{method = "GET", path = "/", wieght = 2}]',
    ],
)
def test_the_published_schema_forbids_what_afterload_refuses(text: str) -> None:
    """A schema that allows everything would help nobody."""
    assert not jsonschema_rs.validator_for(json.loads(plan_schema_text())).is_valid(tomllib.loads(text))


def test_the_published_schema_is_that_of_the_program_and_describes_every_key() -> None:
    """Renew with `make docs`."""
    text = plan_schema_text()

    assert (ROOT / "docs" / "plan.schema.json").read_text() == text
    assert [name for name, words in described_keys().items() if not words] == []
    assert all(each["description"] for each in json.loads(text)["properties"].values())


def afterload(*args: str) -> Result:
    return CliRunner(catch_exceptions=False).invoke(main, args)


@pytest.mark.parametrize("name", NAMES)
def test_the_plan_of_a_run_without_options_is_run_again_as_it_was(name: str, tmp_path: Path, monkeypatch: Any) -> None:
    """What the scenario filled in is in the plan; read again, nothing is filled in over it."""
    scenario = find(name)
    monkeypatch.setattr("harness.commands.asking.describe", lambda plan: _described(scenario))
    first = afterload("run", name, "--dry-run")
    (tmp_path / "plan.toml").write_text(first.stdout)
    second = afterload("run", "--plan", str(tmp_path / "plan.toml"), "--dry-run")

    assert (first.exit_code, second.exit_code) == (0, 0)
    assert tomllib.loads(first.stdout)["for_s"] == scenario.plan.duration_s
    assert first.stdout == second.stdout


def _described(scenario: Any) -> dict[str, Any]:
    plan = scenario.plan
    return {"plan": {name: getattr(plan, name) for name in ("rate_per_s", "duration_s", "pool", "faults")}}


def test_a_dry_run_of_a_real_scenario_starts_nothing_and_writes_nothing(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    done = afterload("run", "email", "--slo", "p99<50ms", "--allow", "noise", "--fault", "none", "--dry-run")

    assert list(tmp_path.iterdir()) == []
    assert tomllib.loads(done.stdout) | {"slos": ["p99<50ms"], "allow": ["noise"], "faults": []} == tomllib.loads(done.stdout)


@pytest.mark.parametrize(
    ("of_file", "given", "expected"),
    [
        ({"rate": 5.0, "seed": 2}, {"rate": 7.0}, {"rate": 7.0, "seed": 2}),
        ({"faults": ["kill@5s", "term@6s"]}, {"faults": ("int@1s",)}, {"faults": ("int@1s",)}),
        ({"faults": ["kill@5s"], "slos": ["lost==0"]}, {"faults": (), "slos": ()}, {"faults": (), "slos": ()}),
        ({"settings": {"a": "1", "b": "2"}}, {"settings": {"b": "3"}}, {"settings": {"a": "1", "b": "3"}}),
        ({"rate": 5.0}, {"users": 10}, {"users": 10}),
        ({"users": 10, "think_s": 1.0, "spawn_rate": 2.0}, {"rate": 5.0}, {"rate": 5.0}),
        ({"users": 10, "locustfile": "x.py"}, {"requests": ("a",)}, {"users": 10, "requests": ("a",)}),
        ({"rate": 5.0, "requests": ["a"]}, {"locustfile": "x.py"}, {"locustfile": "x.py"}),
        (
            {"engine": "rust", "order": "sequential", "on_error": "continue"},
            {"engine": "uvicorn"},
            {"engine": "uvicorn"},
        ),
        ({"order": "parallel"}, {"engine": "uvicorn"}, {"order": "parallel", "engine": "uvicorn"}),
        ({"engine": "granian", "loop": "auto"}, {"engine": "rust"}, {"engine": "rust"}),
        ({"settings": 5}, {"settings": {"b": "3"}}, {"settings": {"b": "3"}}),
    ],
)
def test_options_win_over_a_file(of_file: dict[str, Any], given: dict[str, Any], expected: dict[str, Any]) -> None:
    assert merged(of_file, given) == expected


def test_a_plan_of_one_engine_is_run_on_another(tmp_path: Path, monkeypatch: Any) -> None:
    """The written plan names the order of tasks, which plain FastAPI has none of to choose."""
    monkeypatch.setattr("harness.commands.asking.describe", lambda plan: _described(find("email")))
    (tmp_path / "plan.toml").write_text(Plan.of(EMAIL, "test").to_toml())

    done = afterload("run", "--plan", str(tmp_path / "plan.toml"), "--engine", "uvicorn", "--rate", "7", "--dry-run")

    plan = tomllib.loads(done.stdout)
    assert (plan["engine"], plan["rate"], plan["pool"]) == ("uvicorn", 7.0, 4)
    assert "order" not in plan


def test_slo_none_and_fault_none_empty_what_the_file_has(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("harness.commands.asking.describe", lambda plan: _described(find("email")))
    (tmp_path / "plan.toml").write_text(Plan.of({**EMAIL, "slos": ("lost==0",), "faults": ("kill@5s",)}, "test").to_toml())

    done = afterload("run", "--plan", str(tmp_path / "plan.toml"), "--slo", "none", "--fault", "none", "--dry-run")

    plan = tomllib.loads(done.stdout)
    assert (plan.get("slos", []), plan["faults"]) == ([], [])


@pytest.mark.parametrize(
    ("slo", "extra", "expected"),
    [
        ("p99<50ms", (), "about 76 values are expected and p99 needs 1,000, or 299 that all hold"),
        ("p95<50ms@1s", (), "about 40 values are expected in each 1 s and p95 needs 200, or 59 that all hold"),
        ("recovery<5s", (), "there is no fault to recover from"),
        ("p99<50ms", ("--allow", "few-samples"), ""),
        ("p90<50ms", (), ""),
    ],
)
def test_what_a_plan_cannot_decide_is_said_before_it_runs(
    slo: str, extra: tuple[str, ...], expected: str, monkeypatch: Any
) -> None:
    monkeypatch.setattr("harness.commands.asking.describe", lambda plan: _described(find("email")))
    done = afterload("run", "email", "--rate", "40", "--for", "2s", "--warm-up", "100ms", "--slo", slo, *extra, "--dry-run")

    assert done.exit_code == 0
    assert (expected in done.stderr) if expected else not done.stderr


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"rtae": 5}, ["there is no key 'rtae'; did you mean 'rate'?"]),
        ({"warm-up-s": 5}, ["did you mean 'warm_up_s'?"]),
        ({"nonsense": 5}, ["there is no key 'nonsense'; there are scenario, engine, command"]),
        ({"rate": "fast"}, ["rate is 'fast': a number is wanted there"]),
        ({"rate": "5"}, ["rate is '5': a number is wanted there"]),
        ({"rate": True, "seed": False}, ["rate is True: a number is wanted there", "seed is False: a whole number is wanted"]),
        ({"above_ceiling": "yes"}, ["above_ceiling is 'yes': true or false is wanted there"]),
        ({"rate": 0}, ["rate is 0; allowed is more than 0"]),
        ({"rate": float("inf")}, ["rate is inf; allowed is 100000 or less"]),
        ({"rate": float("nan")}, ["rate is nan"]),
        ({"rate": [5]}, ["rate is [5]: a number is wanted there"]),
        ({"pool": 2.5}, ["pool is 2.5: a whole number is wanted there"]),
        ({"pool": 10_001}, ["pool is 10001; allowed is 10000 or less"]),
        ({"faults": "kill@5s"}, ["faults is 'kill@5s': a list in square brackets"]),
        ({"faults": [5]}, ["faults.0 is 5: text in quotes is wanted there"]),
        ({"faults": ["kil@5s"]}, ["faults: 'kil' is not a kind of fault; did you mean 'kill'?"]),
        ({"settings": 5}, ["settings is 5: a table"]),
        ({"settings": {"delay": 5}}, ["settings.delay is 5: text in quotes is wanted there"]),
        ({"order": "sequental"}, ["order is 'sequental'; allowed is 'sequential' or 'parallel'"]),
        ({"tasks": "asinc"}, ["allowed is 'sync', 'async', 'blocking' or 'inline'; did you mean 'async'?"]),
        ({"ready": "healthz", **OWN, "scenario": None}, ["ready is 'healthz'; it has to match ^/"]),
        ({"slos": ["p99<50msec", "lots==0"]}, ["did you mean 'ms'?", "and there is no figure 'lots'; did you mean 'lost'"]),
        ({"slos": ["p99<50ms@20s"]}, ["asks for windows of 20 s, and 9 s of load are measured"]),
        ({"allow": ["nois"]}, ["allow.0 is 'nois'; allowed is 'noise' or 'few-samples'"]),
        ({"rtae": 5, "rate": -1, "pool": "x"}, ["did you mean 'rate'?", "rate is -1", "pool is 'x': a whole number"]),
        ({**OWN, "scenario": None, "requests": [{"path": "/"}]}, ["requests.0.method is missing"]),
        (
            {**OWN, "scenario": None, "requests": [{"method": "GET", "path": "/", "wieght": 2}]},
            ["there is no key 'wieght' in requests.0; did you mean 'weight'?"],
        ),
        (
            {**OWN, "scenario": None, "requests": [{"method": "GET", "path": "/", "weight": 0}]},
            ["requests.0.weight is 0; allowed is more than 0"],
        ),
        ({**OWN, "scenario": None, "requests": [5]}, ["requests.0 is 5: a table"]),
        ({**OWN, "scenario": None, "requests": {"method": "GET"}}, ["requests is {'method': 'GET'}: a list"]),
    ],
)
def test_every_mistake_in_a_plan_is_named_at_once(values: dict[str, Any], expected: list[str]) -> None:
    """Key, what was given, what is allowed, and what was probably meant."""
    with pytest.raises(UsageError) as raised:
        Plan.of({**EMAIL, **values}, "plan x.toml")

    for words in expected:
        assert words in str(raised.value)
    assert str(raised.value).startswith("plan x.toml: ")
