"""Who may take part: the real command joins the real master process; the test plays the session."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from harness.joining import SHORTEST_TOKEN

from .conftest import MasterProcess, Place

Start = Callable[..., MasterProcess]


def test_who_does_not_have_the_token_is_told_so_and_the_run_never_hears_of_it(place: Place, master: Start) -> None:
    at = f"127.0.0.1:{master().port}"
    stranger = place.start("load", "--join", at, "--token", "another-token-of-the-tests-0", "--join-within", "2s")

    assert stranger.end() == 1
    assert f"error: {at} takes connections, but did not accept the join token within 2 s" in stranger.text()


def test_nobody_is_reached_where_nobody_listens(place: Place) -> None:
    lost = place.start("load", "--join", "127.0.0.1:1", "--join-within", "1s")

    assert lost.end() == 1
    assert "error: nothing was reached at 127.0.0.1:1 within 1 s" in lost.text()
    assert "hint: start `afterload run ... --expect-loads N" in lost.text()


def test_another_version_is_refused_and_both_are_named(place: Place, master: Start) -> None:
    there = master(version="0.0.7")
    refused = place.start("load", "--join", f"127.0.0.1:{there.port}")

    said = there.hear("refused")["why"]
    assert refused.end() == 1
    assert "it runs afterload 0.1.0 (protocol 1), and the machine that measures 0.0.7 (protocol 1)" in said
    assert said in refused.text()


def test_a_machine_that_cannot_reach_the_server_by_loopback_is_refused(place: Place, master: Start) -> None:
    """Else it would send its load to a server of its own."""
    refused = place.start("load", "--join", f"127.0.0.1:{master(here='another machine').port}")

    assert refused.end() == 1
    assert "the server will listen on 127.0.0.1, which only its own machine reaches: run it with --host ADDRESS" in refused.text()


def test_load_goes_to_no_server_that_was_not_confirmed_on_the_load_machine_too(place: Place, master: Start) -> None:
    there = master(target="192.0.2.7", target_is_loopback=False)
    at = f"127.0.0.1:{there.port}"
    refuses = place.start("load", "--join", at, "--yes-this-target-is-mine", "192.0.2.8")

    assert there.hear("left")["why"].startswith("load would go to 192.0.2.7, which is not loopback and was not confirmed")
    assert refuses.end() == 2
    assert "confirmed was 192.0.2.8" in refuses.text()
    assert "--yes-this-target-is-mine 192.0.2.7" in refuses.text()


def test_one_more_than_expected_is_refused_and_one_that_leaves_makes_room(place: Place, master: Start) -> None:
    """Also: whoever has joined ends in good order when the run does."""
    there = master()
    at = f"127.0.0.1:{there.port}"
    first = place.start("load", "--join", at, "--processes", 3)
    joined = there.hear("joined")
    second = place.start("load", "--join", at)
    assert second.end() == 1
    assert "all 1 load machines that were asked for with --expect-loads are there already" in second.text()

    first.process.terminate()
    assert there.hear("left")["why"] == "it was interrupted there by SIGTERM"
    assert first.end() == 143
    third = place.start("load", "--join", at)
    again = there.hear("joined")
    there.say({"over": True})

    assert third.end() == 1
    assert "the run ended before this machine had sent its part" in third.text()
    assert [joined["processes"], again["processes"]] == [3, 1]
    assert joined["clock"] is None  # it is the same one


def test_a_secret_does_not_travel_and_a_machine_without_it_says_which_one_is_missing(place: Place, master: Start) -> None:
    there = master()
    member = place.start("load", "--join", f"127.0.0.1:{there.port}")
    number = there.hear("joined")["member"]
    template = {"name": "GET /", "method": "GET", "path": "/", "headers": {"authorization": "Bearer $SHOP_TOKEN"}}
    there.say(
        {"jobs": {str(number): [{"process": 1, "host": "127.0.0.1"}]}, "templates": [template], "most_rows": 10, "warm_up_s": 0}
    )

    assert "the environment variable SHOP_TOKEN, which is not set" in there.hear("left")["why"]
    assert member.end() == 1
    assert "values of headers that are secret do not travel; set the variable here too" in member.text()


def test_a_locustfile_must_be_the_same_on_both_machines(place: Place, master: Start, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("one = 1\n")
    there = master(locustfile_sha256="0" * 64, expect=3)
    at = f"127.0.0.1:{there.port}"
    other = place.start("load", "--join", at, "--locustfile", tmp_path / "mine.py")
    none = place.start("load", "--join", at)

    assert (other.end(), none.end()) == (1, 1)
    assert "is not the one of the run (sha256 000000000000)" in other.text()
    assert "give the same file there with --locustfile" in none.text()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--join", "example.org"], "--join is 'example.org', which is no address; write HOST:PORT"),
        (["--join", "127.0.0.1:70000"], "which is no address; write HOST:PORT"),
        (["--join", "127.0.0.1:5557", "--locustfile", "/no/such.py"], "cannot read the locustfile /no/such.py"),
    ],
)
def test_what_makes_no_sense_is_said_before_anything_is_started(place: Place, options: list[str], said: str) -> None:
    command = place.start("load", *options)

    assert command.end() == 2
    assert said in command.text()


def test_a_run_says_what_is_wrong_with_its_side_of_it(place: Place) -> None:
    """Four ways to begin it wrongly, at once: nothing is measured in any of them."""
    run = ("run", "email", "--rate", 10, "--for", "1s", "--expect-loads", 1, "--out")
    short = place.start(*run, "a", env={"AFTERLOAD_JOIN_TOKEN": "short"})
    elsewhere = place.start(*run, "b", "--join-bind", "192.0.2.1:5557")
    unconfirmed = place.start(*run, "c", "--host", "192.0.2.1")
    not_here = place.start(*run, "d", "--host", "192.0.2.1", "--yes-this-target-is-mine", "192.0.2.1")

    assert [each.end() for each in (short, elsewhere, unconfirmed, not_here)] == [2, 2, 2, 2]
    assert f"AFTERLOAD_JOIN_TOKEN has 5 characters; a join token has {SHORTEST_TOKEN} or more" in short.text()
    assert "--join-bind 192.0.2.1:5557: cannot listen on 192.0.2.1:5557: Cannot assign requested address" in elsewhere.text()
    assert "load would go to 192.0.2.1, which is not loopback and was not confirmed as yours" in unconfirmed.text()
    assert "--host 192.0.2.1 is no address of this machine" in not_here.text()
