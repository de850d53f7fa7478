"""Names for requests that somebody else's code makes."""

from __future__ import annotations

from harness.load.naming import MOST_NAMES, OTHER_NAMES, RouteNames, grouped_path


def test_paths_that_differ_by_an_id_are_one_route() -> None:
    for path in ("/o/1", "/o/123456?q=1", "/o/8c5e1788-4dae-5874-beb2-ac9831a0154f", "/o/feedfacefeedface#x"):
        assert grouped_path(path) == "/o/{id}"
    for path in ("/", "/o/new", "/v1/o", "/o/abc", "/o/feed"):
        assert grouped_path(path) == path


def test_no_name_is_lost_and_none_is_taken_for_another() -> None:
    """A row file holds 191 names of 64 bytes: long ones stay apart, and those beyond are counted together, with examples."""
    entered: list[str] = []

    def enter(name: str) -> int:
        entered.append(name)
        return len(entered)

    names = RouteNames(enter)
    long = [names.route("GET", f"/{'ü' * 40}/{end}", "") for end in ("first", "second")]
    routes = [names.route("GET", f"name {number}", "") for number in range(300)]
    again = [names.route("GET", f"name {number}", "") for number in range(300)]

    assert long[0] != long[1]
    assert routes == again
    assert len(entered) == len(set(entered)) == MOST_NAMES + 1 <= 191
    assert max(len(name.encode()) for name in entered) <= 64
    assert entered[-1] == OTHER_NAMES
    assert names.n_others == 2 * (300 - (MOST_NAMES - 2))
    assert 0 < len(names.others) <= 3
