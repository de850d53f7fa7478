"""The apps of all scenarios on both classes, in all kinds, against their real worlds."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from scenarios import TaskKind
from scenarios.registry import NAMES, find
from server import FastrAPI
from tests.scenarios.conftest import started

OURS = ("action", "analytics", "email", "flaky")
QUICK = {
    "action": {"fail": "0%", "analytics": "1ms", "delay": "1ms"},
    "analytics": {"hold": "1ms"},
    "email": {"delay": "1ms"},
    "flaky": {"raises": "0%", "hangs": "0%", "slow": "0%", "work": "1ms", "leaks": "100%", "leak": "1KB"},
}
N = 3


@pytest.mark.parametrize("kind", TaskKind)
@pytest.mark.parametrize("name", OURS)
def test_the_same_source_does_its_work_on_plain_fastapi_in_every_kind(name: str, kind: TaskKind, tmp_path: Path) -> None:
    """Each request leaves the effect of each of its tasks, and the check agrees."""
    scenario = find(name)
    with started(scenario, tmp_path, QUICK[name]) as world:
        app = scenario.app(FastAPI, kind, world.addresses, world.settings)

        async def send() -> list[int]:
            requests = scenario.traffic(1, world.settings, tmp_path)[:N]
            # This client waits for the tasks as well.
            transport = httpx.ASGITransport(app=app)
            async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
                answers = [
                    await client.request(
                        each.method,
                        each.path,
                        headers={**each.headers, "x-op-id": f"{number:016x}"},
                        content=each.body.replace("{op}", f"{number:016x}"),
                    )
                    for number, each in enumerate(requests, 1)
                ]
            return [answer.status_code for answer in answers]

        assert all(200 <= status <= 299 for status in asyncio.run(send()))
    arrived = sorted(zip(world.rows.effects["op"].tolist(), world.rows.effects["index"].tolist(), strict=True))
    assert arrived == [(op, index) for op in range(1, N + 1) for index in range(len(scenario.tasks))]
    assert not scenario.check(world.rows, world.settings, world.folder).problems


@pytest.mark.parametrize("name", NAMES)
def test_both_classes_make_the_same_api(name: str, tmp_path: Path) -> None:
    scenario = find(name)
    with started(scenario, tmp_path) as world:
        ours, theirs = (
            scenario.app(api, TaskKind.SYNC, world.addresses, world.settings).openapi() for api in (FastrAPI, FastAPI)
        )

    assert ours == theirs


@pytest.mark.parametrize("name", OURS)
def test_the_seed_makes_the_traffic(name: str, tmp_path: Path) -> None:
    """The same again for the same seed, something else for another."""
    scenario = find(name)
    first, again, other = (scenario.traffic(seed, scenario.resolve({}), tmp_path) for seed in (1, 1, 2))

    assert first == again != other
