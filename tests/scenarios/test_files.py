"""The files scenario: what clients can send, what is on the disk afterwards, and what the watcher and the check make of it."""

from __future__ import annotations

import bz2
import hashlib
import io
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from PIL import Image

from scenarios.apps.files import shown_name
from scenarios.files import SCENARIO, contents, traffic
from scenarios.kinds import TaskKind
from server import FastrAPI
from tests.scenarios.serving import Served, figures, in_world, op, serving, until

SMALL = {"size": "30KB", "limit": "60KB"}
GOOD = dict(contents(1, SCENARIO.resolve(SMALL)).good)
PHOTO, TABLE = GOOD["photo.jpg"], GOOD["measurements.csv"]


def send(served: Served, number: int, name: str, content: bytes) -> httpx.Response:
    return served.client.post("/upload", files={"file": (name, content)}, headers={"x-op-id": op(number)})


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("kind", list(TaskKind))
@pytest.mark.parametrize("api", [FastrAPI, FastAPI], ids=["bundled", "fastapi"])
def test_an_upload_becomes_a_copy_and_a_preview(tmp_path: Path, kind: TaskKind, api: type[FastAPI]) -> None:
    """In every kind, on both classes: what comes out is what went in, and the watcher has seen it."""
    with serving(SCENARIO, tmp_path, kind=kind, api=api, **SMALL) as served:
        assert send(served, 1, "photo.JPG", PHOTO).status_code == 202
        assert send(served, 2, "numbers.csv", TABLE).status_code == 202
        until(lambda: len(served.effects()) == 2, "both were seen")

    done = served.folder / "done"
    assert names(done) == [op(1), op(2)]
    assert bz2.decompress((done / op(1) / "copy.bz2").read_bytes()) == PHOTO
    assert bz2.decompress((done / op(2) / "copy.bz2").read_bytes()) == TABLE
    assert hashlib.sha256(PHOTO).hexdigest() in (done / op(1) / "about.json").read_text()
    with Image.open(done / op(1) / "preview.webp") as preview:
        assert max(preview.size) == 256
    assert '"temperature"' in (done / op(2) / "preview.json").read_text()
    assert names(served.folder / "incoming") == []
    check = served.check()
    assert check.problems == ()
    assert figures(check) == {"half_written": 0, "unprocessed": 0, "failed": 0, "half_uploaded": 0, "verified": 2}


NAMES = [
    *("../../../../escaped.jpg", "..\\..\\escaped.jpg", "/etc/escaped.jpg", "C:\\escaped.jpg", "....//escaped.jpg", "~root.jpg"),
    *("a\0b/escaped.jpg", "%2e%2e%2fescaped.jpg", "x" * 1000 + ".jpg", "CON.jpg", "-rf.jpg", "$(reboot).jpg", "\u202egpj.jpg"),
]


def test_no_name_leads_out_of_the_folder(tmp_path: Path) -> None:
    """The stored name is ours; whatever the client's name is, nothing appears anywhere else."""
    run = tmp_path / "a" / "b" / "c" / "run"
    run.mkdir(parents=True)
    with serving(SCENARIO, run, **SMALL) as served:
        for number, name in enumerate(NAMES):
            head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="%s"\r\n\r\n' % name.encode()
            headers = {"x-op-id": op(number), "content-type": "multipart/form-data; boundary=b"}
            answer = served.client.post("/upload", content=head + PHOTO + b"\r\n--b--\r\n", headers=headers)
            assert answer.status_code == 202, (name, answer.text)

    assert names(served.folder) == ["done", "incoming"]
    assert names(served.folder / "done") == [op(number) for number in range(len(NAMES))]
    assert list(tmp_path.rglob("*escaped*")) == []
    assert served.check().problems == ()


def test_no_operation_id_leads_out_of_the_folder(tmp_path: Path) -> None:
    """The id is a part of the path, and comes from the client as well."""
    with serving(SCENARIO, tmp_path, **SMALL) as served:
        for bad in ("../../../../x", "0" * 15, "0" * 17, "G" * 16, "", "..%2f" * 4):
            answer = served.client.post("/upload", files={"file": ("photo.jpg", PHOTO)}, headers={"x-op-id": bad})
            assert answer.status_code == 422, bad

    assert names(served.folder / "incoming") == names(served.folder / "done") == []


def test_what_is_not_wanted_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    """Too big, empty, of another kind, the same operation twice, no multipart at all: a status that says so, and no file."""
    with serving(SCENARIO, tmp_path, **SMALL) as served:
        assert send(served, 1, "big.csv", b"x" * 60_001).status_code == 413
        assert send(served, 2, "program.exe", b"MZ").status_code == 415
        assert send(served, 3, "no suffix", b"x").status_code == 415
        assert send(served, 4, "empty.csv", b"").status_code == 422
        assert send(served, 9, "x" * 10_000 + ".csv", b"a").status_code == 400
        no_boundary = {"x-op-id": op(5), "content-type": "multipart/form-data"}
        assert served.client.post("/upload", content=b"junk", headers=no_boundary).status_code == 400
        cut_off = {"x-op-id": op(6), "content-type": "multipart/form-data; boundary=b"}
        assert served.client.post("/upload", content=b"--b\r\nContent-Disp", headers=cut_off).status_code in {400, 422}
        assert served.client.post("/upload", json={"file": "x"}, headers={"x-op-id": op(7)}).status_code == 422
        assert served.client.post("/upload", data={"file": "text"}, headers={"x-op-id": op(8)}).status_code == 422
        assert names(served.folder / "incoming") == names(served.folder / "done") == []


def test_an_operation_that_is_uploaded_again_replaces_nothing(tmp_path: Path) -> None:
    """Neither while it waits nor when it is done, under whatever name; 409 as it should."""
    with serving(SCENARIO, tmp_path, **SMALL) as served:
        waiting = served.folder / "incoming" / f"{op(1)}.jpg"
        waiting.write_bytes(b"the first one")
        assert send(served, 1, "photo.jpg", PHOTO).status_code == 409
        assert waiting.read_bytes() == b"the first one"
        assert send(served, 2, "photo.jpg", PHOTO).status_code == 202
        until(lambda: (served.folder / "done" / op(2)).exists(), "it is done")
        assert send(served, 2, "other.jpg", PHOTO).status_code == send(served, 2, "other.csv", TABLE).status_code == 409

    assert names(served.folder / "incoming") == [f"{op(1)}.jpg"]
    assert names(served.folder / "done") == [op(2)]


def test_a_broken_picture_is_a_task_that_failed_and_leaves_no_half_of_it(tmp_path: Path) -> None:
    """The client was told 202; the upload is kept, its half output is not."""
    huge = io.BytesIO()
    Image.new("1", (9000, 9000)).save(huge, "PNG")
    with serving(SCENARIO, tmp_path, **SMALL) as served:
        assert send(served, 1, "cut.jpg", PHOTO[: len(PHOTO) // 2]).status_code == 202
        assert send(served, 2, "bomb.png", huge.getvalue()).status_code == 202
        assert send(served, 3, "text.jpg", b"hello").status_code == 202
        assert send(served, 4, "odd.csv", b"a,b\n1,2,3\n").status_code == 202
        assert send(served, 5, "photo.jpg", PHOTO).status_code == 202

    assert names(served.folder / "done") == [op(5)]
    check = served.check()
    assert check.problems == ()
    assert figures(check) == {"half_written": 0, "unprocessed": 0, "failed": 4, "half_uploaded": 0, "verified": 1}


def test_what_is_left_half_written_is_found_and_what_was_changed_behind_the_app(tmp_path: Path) -> None:
    """Without a server: the folder alone is looked at."""
    with in_world(SCENARIO, tmp_path, **SMALL) as served:
        done, incoming = served.folder / "done", served.folder / "incoming"
        (done / f".{op(1)}.part").mkdir()
        (incoming / f".{op(2)}.csv.part").write_bytes(b"a")
        (incoming / f"{op(3)}.csv").write_bytes(b"a,b")
        forged = done / f"{op(4)}"
        forged.mkdir()
        (forged / "copy.bz2").write_bytes(bz2.compress(b"something else"))
        (forged / "preview.json").write_text("{}")
        (forged / "about.json").write_text(hashlib.sha256(b"something else").hexdigest())
        (served.folder / "stranger").write_bytes(b"")

    assert served.effects() == [int(op(4), 16)], "the last look at the end sees it"
    check = served.check()
    assert figures(check) == {"half_written": 1, "unprocessed": 1, "failed": 0, "half_uploaded": 1, "verified": 1}
    assert [problem.split(" (")[0] for problem in check.problems] == [
        "1 files with names that are not the app's",
        "1 outputs that are not what was uploaded",
    ]


def test_the_traffic_is_the_same_for_a_seed_and_of_the_size_that_was_asked_for(tmp_path: Path) -> None:
    """Bodies are made once, in files; nobody's load depends on chance that cannot be repeated."""
    settings = SCENARIO.resolve({"size": "60KB", "limit": "200KB", "bad": "10%"})

    def made(seed: int) -> list[tuple[str, float, bytes]]:
        folder = tmp_path / str(seed)
        folder.mkdir(exist_ok=True)
        requests = traffic(seed, settings, folder)
        return [(each.name, each.weight, each.body_file.read_bytes()) for each in requests if each.body_file is not None]

    first = made(1)
    assert first == made(1) != made(2)
    sizes = [len(body) for name, _, body in first if name == "POST /upload"]
    assert 15_000 < min(sizes) < max(sizes) < 150_000
    refused = sum(weight for name, weight, _ in first if "refused" in name)
    assert refused == pytest.approx(0.1 * sum(weight for _, weight, _ in first) * 2 / 3)


def test_a_clients_name_is_shown_without_its_folders() -> None:
    """Also one that is only folders, or none at all."""
    assert [shown_name(name) for name in ("a/b.jpg", "a\\b.jpg", "..", "/", None, "übersicht.csv")] == [
        "b.jpg", "b.jpg", "..", "", "", "übersicht.csv",
    ]  # fmt: skip
