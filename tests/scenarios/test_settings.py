"""Settings of scenarios: types, units, ranges, and what is said of a wrong one."""

from __future__ import annotations

import pytest

from scenarios import BadSetting, Setting, Settings, choice, count, duration, share, size, url
from scenarios.registry import NAMES, find
from scenarios.settings import chance, resolve

ALL = (
    duration("delay", "100ms", "", high="50s"),
    share("fail", "0%", ""),
    count("connections", "0", "", high=100),
    size("body", "2MB", "", low="1B", high="1GiB"),
    choice("effect", "end", "", ("end", "start")),
    url("postgres", "", ("postgresql", "postgres")),
)


def of(**given: str) -> Settings:
    return resolve("test", ALL, given, 1)


@pytest.mark.parametrize(
    ("given", "value"),
    [("200ms", 0.2), ("1.5s", 1.5), ("0ms", 0.0), ("500us", 0.0005), ("0.5m", 30.0), (" 3 s ", 3.0)],
)
def test_a_duration_has_a_unit(given: str, value: float) -> None:
    assert of(delay=given).seconds("delay") == pytest.approx(value)


def test_shares_counts_sizes_choices_and_addresses_are_read() -> None:
    settings = of(fail="2.5%", connections="10", body="64KB", effect="start", postgres="postgresql://db:5432/x")

    assert settings.share("fail") == pytest.approx(0.025)
    assert settings.count("connections") == 10
    assert settings.bytes("body") == 64_000
    assert of(body="1KiB").bytes("body") == 1024
    assert settings.text("effect") == "start"
    assert settings.text("postgres") == "postgresql://db:5432/x"
    assert of().bytes("body") == 2_000_000


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"dealy": "1s"}, "scenario 'test' has no setting 'dealy'; it has delay, fail, connections, body, effect, postgres"),
        ({"delay": "fast"}, "setting delay: 'fast' is no duration: write a number and a unit (us, ms, s, m, h), e.g., 200ms"),
        ({"delay": "200"}, "setting delay: '200' is no duration"),
        ({"delay": "-1s"}, "setting delay: '-1s' is no duration"),
        ({"delay": "51s"}, "setting delay is 51s; allowed is 0ms to 50s"),
        ({"fail": "5"}, "setting fail: '5' is no share: write a number and a unit (%), e.g., 5%; allowed is 0% to 100%"),
        ({"fail": "101%"}, "setting fail is 101%; allowed is 0% to 100%"),
        ({"connections": "ten"}, "setting connections: 'ten' is no whole number, e.g., 10; allowed is 0 to 100"),
        ({"connections": "1.5"}, "is no whole number"),
        ({"connections": "-1"}, "setting connections is -1; allowed is 0 to 100"),
        ({"connections": "9" * 30}, "is no whole number"),
        ({"body": "2XB"}, "setting body: '2XB' is no size: write a number and a unit (B, KB, MB, GB, KiB, MiB, GiB), e.g., 2MB"),
        ({"body": "0B"}, "setting body is 0B; allowed is 1B to 1GiB"),
        ({"effect": "middle"}, "setting effect is 'middle'; allowed is end or start"),
        ({"postgres": "localhost:5432"}, "setting postgres is 'localhost:5432'; allowed is postgresql://HOST:PORT/..."),
    ],
)
def test_a_wrong_setting_is_named_with_what_was_given_and_what_is_allowed(given: dict[str, str], expected: str) -> None:
    with pytest.raises(BadSetting) as caught:
        of(**given)
    assert expected in str(caught.value)


def test_a_password_is_refused_because_it_would_be_written_down_and_is_not_repeated() -> None:
    """Settings go into plan.toml and into command lines."""
    with pytest.raises(BadSetting) as caught:
        of(postgres="postgresql://ada:secret@db/x")
    assert "password" in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("make", [lambda: duration("Delay", "1s", ""), lambda: share("fail", "five", "")])
def test_a_setting_that_cannot_work_is_told_where_it_is_made(make: object) -> None:
    with pytest.raises(BadSetting):
        make()  # type: ignore[operator]


def test_what_happens_to_an_operation_depends_on_its_number_and_the_seed_alone() -> None:
    """The upper half of an operation id is another one in each run; the same requests must fail again all the same."""
    settings = of(fail="30%")
    numbers = range(1, 2001)
    first = [settings.happens("fail", f"{0x111 << 32 | number:016x}") for number in numbers]
    again = [settings.happens("fail", f"{0x222 << 32 | number:016x}") for number in numbers]
    other_seed = [resolve("test", ALL, {"fail": "30%"}, 2).happens("fail", f"{number:016x}") for number in numbers]
    other_attempt = [settings.happens("fail", f"{number:016x}", 1) for number in numbers]

    assert first == again
    assert 0.25 < sum(first) / len(first) < 0.35
    for other in (other_seed, other_attempt):
        # As often as two that know nothing of each other: 0.3 x 0.3 + 0.7 x 0.7 = 58 %.
        assert 0.52 < sum(a == b for a, b in zip(first, other, strict=True)) / len(first) < 0.64


def test_chance_is_spread_evenly_over_consecutive_operations() -> None:
    """Also over short stretches: a share must not come in bursts."""
    drawn = [chance(1, "tail", f"{number:016x}") for number in range(10_000)]
    in_bins = [sum(low / 20 <= value < (low + 1) / 20 for value in drawn) for low in range(20)]
    per_hundred = [sum(value < 0.1 for value in drawn[start : start + 100]) for start in range(0, 10_000, 100)]

    assert all(400 < number < 600 for number in in_bins)
    # Of 100 with a chance of 10 %: 10 with a deviation of 3.
    assert min(per_hundred) > 0
    assert max(per_hundred) < 25


@pytest.mark.parametrize("name", NAMES)
def test_every_setting_of_every_scenario_has_a_default_that_is_allowed_and_words(name: str) -> None:
    scenario = find(name)

    scenario.resolve({})
    assert all(isinstance(setting, Setting) and setting.help and setting.allowed for setting in scenario.settings)
