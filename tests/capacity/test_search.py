"""The search against servers whose capacity is known: it has to be in the answer's interval."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import numpy as np
import pytest

from harness.capacity.result import points
from harness.capacity.schema import GrowthSeen, LimitSeen, Measured
from harness.capacity.search import Asked, Options, Purpose, Search
from harness.capacity.standing import Standing, standing
from harness.capacity.words import in_words
from tests.capacity.simulated import Kind, Queue, searched


def test_the_capacity_lies_in_the_interval_in_95_of_100_searches() -> None:
    """Queues with exponential run times and random arrivals: capacity is threads / mean run time. An answer has two ends."""
    servers = [
        *(Queue(np.random.default_rng(seed)) for seed in range(50)),
        *(Queue(np.random.default_rng(seed), threads=1, run_s=0.01) for seed in range(20)),
        *(Queue(np.random.default_rng(seed), threads=4, run_s=0.2) for seed in range(30)),
    ]
    n_inside = 0
    for server in servers:
        answer = searched(server).answer()
        has_ends = answer.state == "found" and answer.low is not None and answer.high is not None
        n_inside += has_ends and (answer.low or 0.0) <= server.capacity <= (answer.high or 0.0)
    assert n_inside >= 95


@pytest.mark.parametrize("tasks_per_request", [0.1, 0.2, 0.5, 3.0])
def test_the_capacity_in_requests_is_found_however_many_tasks_each_of_them_leaves(tasks_per_request: float) -> None:
    """What is pending are tasks, and what is asked for are requests: 100/s at most."""
    n_inside = 0
    for seed in range(20):
        server = Queue(np.random.default_rng(seed), run_s=0.1 / tasks_per_request, tasks_per_request=tasks_per_request)
        answer = searched(server).answer()
        n_inside += (answer.low or 0.0) <= server.capacity <= (answer.high or 0.0)
    assert n_inside >= 19


def test_where_every_twentieth_request_leaves_a_task_its_capacity_lies_in_the_interval() -> None:
    server = Queue(np.random.default_rng(1), run_s=2.0, poisson=False, spread="constant", tasks_per_request=0.05)
    answer = searched(server).answer()
    assert answer.state == "found"
    assert (answer.low or 0.0) <= server.capacity <= (answer.high or 0.0)


@pytest.mark.parametrize("spread", ["constant", "exponential"])
@pytest.mark.parametrize("run_s", [2.0, 5.0])
def test_tasks_that_take_as_long_as_a_stage_get_longer_stages(run_s: float, spread: str) -> None:
    """400 threads fill up for seconds, far below what they can do."""
    server = Queue(np.random.default_rng(1), threads=400, run_s=run_s, poisson=spread != "constant", spread=spread)
    search = searched(server, start=20.0)
    answer = search.answer()
    assert answer.state == "found"
    assert 0.9 * server.capacity < (answer.low or 0.0) <= server.capacity <= (answer.high or 0.0)
    assert max(each.settling_s for each in search.told) >= run_s - 1.0


@pytest.mark.parametrize("run_s", [30.0, 40.0, 60.0])
def test_tasks_that_take_several_times_as_long_as_a_stage_get_stages_that_show_a_whole_wave_of_ends(run_s: float) -> None:
    """Shorter ones say nothing, or take a rate to hold at which as many wait all the time."""
    server = Queue(np.random.default_rng(1), threads=int(100 * run_s), run_s=run_s, poisson=False, spread="constant")
    search = searched(server)
    answer = search.answer()
    assert answer.state == "found"
    assert answer.found == pytest.approx(server.capacity, rel=0.05)
    assert 0.9 * server.capacity < (answer.low or 0.0) <= server.capacity <= (answer.high or math.inf)
    assert sum(each.growth is None for each in search.told) <= 2


@pytest.mark.parametrize("kind", ["threads", "async", "answers"])
@pytest.mark.parametrize("run_s", [5.0, 10.0, 20.0])
def test_a_load_that_only_fills_up_is_not_taken_for_one_that_grows(kind: Kind, run_s: float) -> None:
    """Stages are watched, and ended early where that is beyond doubt: of tasks, and of answers, that are longer than a stage."""
    n_near = 0
    for seed in range(4):
        server = Queue(np.random.default_rng(seed), threads=int(40 * run_s), run_s=run_s, spread="constant", kind=kind)
        search = searched(server, start=[5.0, 120.0][seed % 2])
        answer = search.answer()
        assert (answer.low or math.inf) <= server.capacity <= (answer.high or math.inf)
        assert not any(each.ended_early and each.rate < 0.9 * server.capacity for each in search.told)
        n_near += abs((answer.found or 0.0) - server.capacity) < 0.1 * server.capacity
    assert n_near >= 2


@pytest.mark.parametrize("start", [1.0, 60.0, 300.0])
@pytest.mark.parametrize(("share", "slow_s"), [(0.05, 60.0), (0.1, 30.0), (0.01, 20.0)])
def test_tasks_that_are_sometimes_slow_are_followed_by_longer_stages_and_not_taken_for_hanging(
    share: float, slow_s: float, start: float
) -> None:
    """The others take 50 ms, and a first stage of 8 s knows its tasks for 20 s. Of few slow ones, chance has more or fewer."""
    server = Queue(np.random.default_rng(1), threads=200, run_s=0.05, poisson=False, spread="constant", slow=(share, slow_s))
    search = searched(server, start=start)
    answer = search.answer()
    assert answer.state == "found"
    assert answer.found == pytest.approx(server.capacity, rel=0.2)
    # Whatever is said to grow and grow is never said to be no growth.
    assert not any(each.ended_early and each.growth is None for each in search.told)


@pytest.mark.parametrize("start", [0.3, 1.0, 20.0, 300.0])
@pytest.mark.parametrize("share", [0.02, 0.05, 0.2])
def test_no_capacity_is_found_at_a_rate_at_which_a_share_of_the_tasks_never_ends(share: float, start: float) -> None:
    """However low the rate is at which fewer of them were to be seen; nor does it take hours to say so."""
    server = Queue(np.random.default_rng(2), threads=10000, run_s=0.05, spread="constant", slow=(share, math.inf))
    search = searched(server, start=start)
    answer = search.answer()
    assert answer.state == "unclear"
    assert "whether they take long or hang is not known" in in_words(answer)
    assert sum(each.seconds for each in search.told) < 1800


@pytest.mark.parametrize(("before", "is_ended"), [((), False), ((300.0,), False), ((50.0,), True)])
def test_what_grows_is_ended_early_once_a_stage_below_has_settled(before: tuple[float, ...], is_ended: bool) -> None:
    """That one tells what filling up looks like: before it, a stage at a rate that is far too high goes on to its end."""
    server = Queue(np.random.default_rng(1))
    search = Search(Options(start=50.0))
    for rate in before:
        search.tell(server.stage(Asked(rate, 8.0, "bracket"), 1, search))
    stage = server.stage(Asked(200.0, 8.0, "bracket"), 2, search)
    assert (stage.ended_early, stage.seconds < 8.0) == (is_ended, is_ended)
    assert stage.growth is not None
    assert stage.growth.low > 0


def test_a_load_that_never_settles_in_a_stage_is_not_searched_on() -> None:
    search = searched_with(lambda *_: {"growth": None, "settling_s": 60.0})
    assert len(search.told) == 3
    assert search.told[-1].seconds > 60
    assert search.answer().state == "unclear"
    assert "warm up for 60.0 s more" in in_words(search.answer())
    assert points(search.told, 0.05)[0].standing == "not settled"


def test_a_rate_at_which_the_load_does_not_settle_leaves_what_holds_below_it() -> None:
    """That is confirmed, and the search is over: to go on later would do nothing."""
    search = searched_with(lambda asked, _: {"growth": None, "settling_s": 60.0} if asked.rate > 80 else {})
    answer = search.answer()
    assert (answer.state, answer.found, answer.confirmed) == ("unclear", 50.0, True)
    assert "50/s held a longer stage. Whether more than that holds cannot be told: at 110/s, what comes in" in in_words(answer)
    assert Search(search.options, search.told).next() is None
    before = Search(search.options, search.told[:-1])
    assert (before.answer().state, before.answer().why) == ("unfinished", "")
    assert before.next() is not None


def test_what_does_not_settle_beside_a_capacity_that_was_found_is_no_matter() -> None:
    """The stages above it, which look for an upper end."""
    search = searched_with(lambda asked, _: {"growth": None, "settling_s": 60.0} if asked.purpose == "above" else {})
    assert search.answer().state == "found"
    assert search.answer().why == ""


def test_a_rate_that_does_not_hold_after_all_below_one_that_never_settles_is_searched_below() -> None:
    broken = LimitSeen(text="p99<9ms", holds=False, sure=True, value=90.0, limit=9.0, unit="ms")

    def change(asked: Asked, _: Measured) -> dict[str, object]:
        if asked.rate > 80:
            return {"growth": None, "settling_s": 60.0}
        return {"limits": (broken,)} if asked.purpose == "confirm" and asked.rate > 30 else {}

    search = searched_with(change)
    assert search.answer().why == ""
    assert min(each.rate for each in search.told) < 50.0


def test_a_stage_that_shows_no_growth_and_breaks_a_limit_does_not_hold() -> None:
    broken = LimitSeen(text="p99<9ms", holds=False, sure=True, value=90.0, limit=9.0, unit="ms")
    stage = Measured(number=1, purpose="bisect", rate=50.0, seconds=8.0, growth=None, settling_s=60.0, limits=(broken,))
    assert standing([stage], 0.05) is Standing.BROKEN
    assert standing([stage.model_copy(update={"limits": ()})], 0.05) is None


@pytest.mark.parametrize("start_share", [0.02, 0.5, 3.0])
def test_a_server_without_chance_is_found_to_the_width_that_was_asked_for(start_share: float) -> None:
    server = Queue(np.random.default_rng(1), poisson=False, spread="constant")
    search = searched(server, start=server.capacity * start_share, within=0.05)
    answer = search.answer()
    assert answer.state == "found"
    assert answer.low is not None
    assert answer.high is not None
    assert answer.low <= server.capacity < answer.high <= 1.1 * answer.low
    assert answer.confirmed
    assert len(search.told) < 16


def test_a_server_that_stays_bad_once_overloaded_is_judged_by_what_it_does_from_a_fresh_start() -> None:
    """Overloaded, it does half of what it can do: the first stages, far above, show the half alone."""
    server = Queue(np.random.default_rng(1), poisson=False, spread="constant", worse_from=30)
    search = searched(server, start=3 * server.capacity)
    answer = search.answer()
    assert min(each.could_per_s or math.inf for each in search.told) < 0.6 * server.capacity
    assert 0.9 * server.capacity < (answer.low or 0.0) <= server.capacity <= (answer.high or 0.0)


def test_a_server_that_differs_from_start_to_start_gets_a_wider_interval() -> None:
    answers = [searched(Queue(np.random.default_rng(seed), poisson=False, noise=0.05)).answer() for seed in range(40)]
    assert sum((each.low or math.inf) <= 100.0 <= (each.high or 0.0) for each in answers) >= 37
    steady = searched(Queue(np.random.default_rng(1), poisson=False, spread="constant")).answer()
    assert np.median([each.spread for each in answers]) > steady.spread


def test_a_generator_that_cannot_send_more_is_no_capacity() -> None:
    server = Queue(np.random.default_rng(1), poisson=False, generator_per_s=60.0)
    search = searched(server)
    answer = search.answer()
    assert answer.state == "at least"
    assert answer.high is None
    assert 40.0 <= (answer.found or 0.0) <= 60.0


def test_no_rate_above_the_most_is_asked_for() -> None:
    search = searched(Queue(np.random.default_rng(1), poisson=False), most=50.0)
    assert search.answer().state == "at least"
    assert max(each.rate for each in search.told) == 50.0


@pytest.mark.parametrize("limit", ["most", "generator"])
def test_just_below_what_may_be_asked_for_or_sent_a_search_finds_what_it_can(limit: str) -> None:
    """Of 100/s: whether the last few rates hold is chance, and higher ones that would tell are out of reach."""
    states = []
    for seed in range(12):
        server = Queue(np.random.default_rng(seed), poisson=False)
        server.generator_per_s = 112.0 if limit == "generator" else server.generator_per_s
        answer = searched(server, **({"most": 104.0} if limit == "most" else {})).answer()
        states.append(answer.state)
        if answer.state == "at least" and answer.why:
            assert f"It holds {answer.found:.3g}/s; above it some rates seem not to hold, and more than" in in_words(answer)
    assert set(states) <= {"found", "at least"}


def test_a_rate_near_one_that_needed_long_stages_gets_them_at_once() -> None:
    """Stages of less than a minute say nothing here: tasks that came in first had never ended in them."""
    search = Search(Options(start=4.0))
    while (asked := search.next()) is not None:
        grows = max(asked.rate - 5.0, 0.0)
        growth = GrowthSeen(per_s=grows, low=grows - 0.05, high=grows + 0.05, seconds=asked.seconds, mean=1.0)
        hangs = asked.seconds < 60
        told = {"growth": None, "may_hang": True, "settling_s": asked.seconds + 11} if hangs else {"growth": growth}
        search.tell(
            Measured(
                number=len(search.told) + 1,
                purpose=asked.purpose,
                rate=asked.rate,
                seconds=asked.seconds,
                could_per_s=5.0,
                **told,
            )
        )
    assert search.answer().state == "found"
    assert [each.seconds < 60 for each in search.told] == [True] + [False] * (len(search.told) - 1)
    (confirmed,) = (each for each in search.told if each.purpose == "confirm")
    assert confirmed.seconds >= max(each.seconds for each in search.told)


def test_a_limit_on_the_time_until_done_is_found_below_the_capacity() -> None:
    """M/M/10 at 100/s: waits are exponential, so the rate at which p95 of the time until done is 0.5 s is known."""
    answers = [
        searched(Queue(np.random.default_rng(seed), threads=10, run_s=0.1, done_p95_limit_s=0.45)).answer() for seed in range(10)
    ]
    assert 80 < np.median([each.found or 0.0 for each in answers]) < 100


def test_a_server_that_holds_nothing_is_said_so() -> None:
    search = Search(Options(start=1.0))
    while (asked := search.next()) is not None:
        broken = LimitSeen(text="p99<1ms", holds=False, sure=True, value=50.0, limit=1.0, unit="ms")
        stage = Queue(np.random.default_rng(1)).stage(asked, 1)
        search.tell(stage.model_copy(update={"limits": (broken,), "could_per_s": None}))
    assert search.answer().state == "none"
    assert search.answer().found is None


def searched_with(change: Callable[[Asked, Measured], dict[str, object]], **options: float) -> Search:
    """A search against a server that can do 100/s, without chance; of each stage something is changed."""
    server = Queue(np.random.default_rng(1), poisson=False, spread="constant")
    search = Search(Options(**{"start": 50.0, **options}))  # type: ignore[arg-type]
    while (asked := search.next()) is not None:
        result = server.stage(asked, len(search.told) + 1)
        search.tell(result.model_copy(update=change(asked, result)))
    return search


def test_a_rate_is_not_confirmed_by_a_longer_stage_that_the_generator_could_not_send() -> None:
    search = searched_with(lambda asked, _: {"generator": "it was late"} if asked.purpose == "confirm" else {})
    answer = search.answer()
    assert not answer.confirmed
    assert answer.state == "unfinished"
    assert "no longer stage confirmed it" in in_words(answer)


def test_a_longer_stage_that_could_not_be_sent_is_sent_again() -> None:
    tries: list[float] = []

    def late_once(asked: Asked, _: Measured) -> dict[str, object]:
        tries.extend([asked.rate] if asked.purpose == "confirm" else [])
        return {"generator": "it was late"} if asked.purpose == "confirm" and len(tries) == 1 else {}

    assert searched_with(late_once).answer().state == "found"
    assert len(tries) == 2


def test_a_limit_that_breaks_in_the_longer_stage_is_not_outvoted_by_shorter_ones() -> None:
    """It holds for 8 s, near its limit; for 24 s it does not at any rate above 70/s."""
    held = LimitSeen(text="p99<50ms", holds=True, sure=False, value=48.0, limit=50.0, unit="ms")
    broken = held.model_copy(update={"holds": False, "sure": True, "value": 500.0})
    search = searched_with(
        lambda asked, _: {"limits": (broken if asked.purpose == "confirm" and asked.rate > 70 else held,)}, within=0.2
    )
    answer = search.answer()
    assert answer.state == "found"
    assert (answer.found or 0.0) <= 70


UNTOLD = LimitSeen(text="done_p99<2s", holds=None, sure=False, value=None, limit=2000.0, unit="ms", why="nobody knows")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"unseen": "the server told nothing"}, "the server told nothing"),
        ({"limits": (UNTOLD,)}, "done_p99<2s cannot be told: nobody knows"),
    ],
)
@pytest.mark.parametrize("most", [1000.0, 60.0])
def test_what_no_stage_could_see_is_not_found(change: dict[str, object], why: str, most: float) -> None:
    """What was seen not to hold, all the same does not."""
    answer = searched_with(lambda *_: change, most=most).answer()
    assert answer.state == "unclear"
    assert (answer.low, answer.found, answer.confirmed) == (None, None, False)
    assert answer.high == (102.0 if most > 100 else None)
    assert why in in_words(answer)


def test_what_could_not_be_seen_is_the_reason_also_where_the_load_never_settles_at_a_higher_rate() -> None:
    search = searched_with(
        lambda asked, _: {"growth": None, "settling_s": 60.0} if asked.rate > 80 else {"unseen": "the server told nothing"}
    )
    answer = search.answer()
    assert (answer.state, answer.found) == ("unclear", None)
    assert answer.why == "at 50/s, where nothing was seen to give way, the server told nothing"
    assert "still fills up" not in in_words(answer)
    # Until then it is not over.
    assert Search(search.options, search.told[:-1]).answer().state == "unfinished"


def test_a_capacity_of_which_no_upper_end_is_shown_is_not_found() -> None:
    """Above 80/s a limit breaks by a hair each time."""
    flat = GrowthSeen(per_s=0.0, low=-1.0, high=1.0, seconds=8.0, mean=4.0)
    hair = LimitSeen(text="p99<50ms", holds=False, sure=False, value=51.0, limit=50.0, unit="ms")
    search = searched_with(lambda asked, _: {"growth": flat, "limits": (hair,) if asked.rate > 80 else ()})
    answer = search.answer()
    assert (answer.state, answer.high, answer.confirmed) == ("unclear", None, True)
    assert answer.found == pytest.approx(80, rel=0.05)
    assert "Whether more than that holds cannot be told: some rates seem not to hold, and none is shown not to" in in_words(
        answer
    )
    # While it still looks for one, it is not over.
    assert Search(search.options, search.told[:-1]).answer().state == "unfinished"
    assert Search(Options(start=50.0, stages=len(search.told) - 1), search.told[:-1]).answer().state == "unfinished"


@pytest.mark.parametrize("run_s", [10.0, 30.0])
def test_two_unlucky_stages_at_a_low_rate_do_not_keep_the_search_below_it(run_s: float) -> None:
    """Random arrivals of long tasks: at a fifth of what the server can do, chance is as large as what is pending."""
    n_near = 0
    for seed in range(8):
        server = Queue(np.random.default_rng(seed), threads=int(20 * run_s), run_s=run_s, spread="constant")
        answer = searched(server, start=1.0).answer()
        n_near += answer.state == "found" and abs((answer.found or 0.0) - server.capacity) < 0.25 * server.capacity
    assert n_near >= 7


def test_a_server_that_tells_nothing_of_its_work_has_a_capacity_of_its_answers_and_that_is_said() -> None:
    answer = searched_with(lambda *_: {"answers_only": True}).answer()
    assert (answer.state, answer.found, answer.confirmed) == ("found", 97.5, True)
    assert "the server tells nothing of the work behind them" in in_words(answer)
    assert "tells nothing" not in in_words(searched_with(lambda *_: {}).answer())


def test_a_width_that_three_digits_cannot_tell_apart_ends_the_search() -> None:
    server = Queue(np.random.default_rng(1), run_s=0.0995, poisson=False, spread="constant")
    search = searched(server, start=50.0, within=0.005)
    answer = search.answer()
    assert answer.state == "found"
    assert (answer.low or 0.0) <= server.capacity <= (answer.high or 0.0)
    assert len(search.told) < 16


def test_a_rate_that_cannot_be_sent_between_two_that_can_does_not_hold_the_search_up() -> None:
    search = searched_with(lambda asked, _: {"generator": "it was late"} if 85 < asked.rate < 105 else {}, start=300.0)
    answer = search.answer()
    assert answer.state == "found"
    assert (answer.low or 0.0) <= 100.0 <= (answer.high or 0.0)
    assert len(search.told) < 16


def test_however_much_a_server_differs_from_start_to_start_no_rate_is_below_nothing() -> None:
    def told(number: int, rate: float, could: float | None, grows: float, purpose: Purpose = "bracket") -> Measured:
        growth = GrowthSeen(per_s=grows, low=grows - 1, high=grows + 1, seconds=8.0, mean=10.0)
        return Measured(number=number, purpose=purpose, rate=rate, seconds=8.0, growth=growth, could_per_s=could)

    stages = [
        told(1, 100.0, None, 0.0),
        told(2, 104.0, 100.0, 4.0),
        told(3, 104.0, 20.0, 60.0),
        told(4, 100.0, None, 0.0, "confirm"),
    ]
    answer = Search(Options(start=100.0), stages).answer()
    assert answer.spread > 1
    assert answer.low == 0.0


def test_a_search_that_goes_on_later_asks_for_the_same_stages() -> None:
    search = searched(Queue(np.random.default_rng(5)))
    for n in range(len(search.told)):
        later = Search(search.options, search.told[:n]).next()
        told = search.told[n]
        assert later is not None
        assert (later.rate, later.purpose, later.seconds) == (told.rate, told.purpose, told.seconds)
    assert Search(search.options, search.told).next() is None


def test_one_stage_with_failing_requests_is_outvoted_by_those_without() -> None:
    """The limit on them is told only where it is broken."""
    stage = Queue(np.random.default_rng(1), poisson=False, spread="constant").stage(
        dataclasses.replace(Search(Options(start=50.0)).next()), 1
    )
    failing = LimitSeen(text="failing<=1%", holds=False, sure=True, value=4.0, limit=1.0, unit="%")
    bad = stage.model_copy(update={"limits": (failing,)})

    assert standing([bad], 0.05) is Standing.BROKEN
    assert standing([bad, stage], 0.05) is Standing.SEEMS_BROKEN
    assert standing([bad, stage, stage], 0.05) is Standing.SEEMS_TO_HOLD


def test_stages_at_one_rate_are_judged_together() -> None:
    stage = Queue(np.random.default_rng(1), poisson=False, spread="constant").stage(
        dataclasses.replace(Search(Options(start=50.0)).next()), 1
    )
    held = LimitSeen(text="p99<9ms", holds=True, sure=True, value=1.0, limit=9.0, unit="ms")
    broken = held.model_copy(update={"holds": False, "value": 90.0})

    def with_limits(*limits: LimitSeen) -> list[Measured]:
        return [stage.model_copy(update={"limits": (limit,)}) for limit in limits]

    assert standing(with_limits(held), 0.05) is Standing.HOLDS
    assert standing(with_limits(broken), 0.05) is Standing.BROKEN
    assert standing(with_limits(held, broken), 0.05) is Standing.SEEMS_BROKEN
    assert standing(with_limits(held, broken, held), 0.05) is Standing.SEEMS_TO_HOLD
    assert standing([stage.model_copy(update={"generator": "late"})], 0.05) is None


def test_the_time_that_is_left_is_foretold_within_a_half() -> None:
    """Of searches against servers with little and with much chance, at each stage: a median of the ratio, and none far off."""
    for spread in ("constant", "exponential"):
        ratios = []
        for seed in range(10):
            server = Queue(np.random.default_rng(seed), threads=40, run_s=0.05, poisson=False, spread=spread)
            search, foretold = Search(Options(start=200.0)), []
            while (asked := search.next()) is not None:
                foretold.append(search.seconds_left(asked, 3.0))
                search.tell(server.stage(asked, len(search.told) + 1))
            took = np.array([each.seconds + 3.0 for each in search.told])
            ratios += (np.array(foretold) / took[::-1].cumsum()[::-1]).tolist()
        assert 0.67 < np.median(ratios) < 1.5
        assert min(ratios) > 0.2


@pytest.mark.parametrize("most", [1234.0, 1236.0, 96.07, 50.0])
def test_a_rate_that_may_not_be_exceeded_is_reached_and_not_exceeded(most: float) -> None:
    """Rates have three digits, and the most that can be sent has any number of them."""
    search = searched(Queue(np.random.default_rng(1), poisson=False, threads=1000), most=most)
    answer = search.answer()
    assert answer.state == "at least"
    assert 0.99 * most < max(each.rate for each in search.told) <= most
    assert len(search.told) < 16
