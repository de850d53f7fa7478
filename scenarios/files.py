"""Upload a picture or a table; its checksum, a compressed copy and a preview are made after the response.

Work for the processor, and only partly without the interpreter's lock. More threads do not help beyond the cores, the answers
become slow together with the work, and a restart leaves files half-written: so every output is built aside and appears whole, by
a rename.
"""

from __future__ import annotations

import hashlib
import io
import random
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from scenarios import (
    Check,
    Plan,
    Request,
    Rows,
    Scenario,
    Settings,
    Task,
    count,
    share,
    size,
)
from scenarios.apps import app_of
from scenarios.world.disk import check_disk, start_disk

__all__ = ["SCENARIO"]
_TRIALS = 4  # until a picture has about the size that was asked for


@dataclass(frozen=True, slots=True)
class Contents:
    """What clients upload: names as they give them, and bytes."""

    good: list[tuple[str, bytes]]
    refused: list[tuple[str, bytes]]  # before there is a task
    broken: list[tuple[str, bytes]]  # their task fails


def contents(seed: int, settings: Settings) -> Contents:
    """Photos and tables of about the size that is set, some under names that try to escape. The same for the same seed."""
    chance = random.Random(seed)
    typical = settings.bytes("size")
    photo = picture(chance, typical, "JPEG")
    return Contents(
        good=[
            ("IMG_2041.JPG", photo),
            ("photo.jpg", picture(chance, typical // 2, "JPEG")),
            ("übersicht 2026.jpeg", picture(chance, typical * 3 // 2, "JPEG")),
            ("../../../etc/cron.d/photo.jpg", picture(chance, typical, "JPEG")),
            ("..\\..\\windows\\screen.png", picture(chance, typical, "PNG")),
            ("measurements.csv", table(chance, typical // 2)),
            ("/tmp/absolute.csv", table(chance, typical)),  # noqa: S108  # a client's name for it
        ],
        refused=[
            ("too-big.csv", table(chance, settings.bytes("limit") + 100_000)),
            ("program.exe", b"MZ" + chance.randbytes(1000)),
        ],
        broken=[("cut-off.jpg", photo[: len(photo) // 3])],
    )


def traffic(seed: int, settings: Settings, folder: Path) -> list[Request]:
    """People who upload files; a share of them should not."""
    made, bad = contents(seed, settings), settings.share("bad")
    chance = random.Random(seed)
    weights = [chance.uniform(0.5, 1.5) for _ in made.good]
    requests = [_upload(folder, f"good-{n}", *each, weight=weights[n]) for n, each in enumerate(made.good)]
    if bad:
        weight = bad / (1 - bad) * sum(weights) / (len(made.refused) + len(made.broken))
        requests += [_upload(folder, f"refused-{n}", *each, weight=weight, refused=True) for n, each in enumerate(made.refused)]
        requests += [_upload(folder, f"broken-{n}", *each, weight=weight) for n, each in enumerate(made.broken)]
    return requests


def _upload(folder: Path, file: str, name: str, content: bytes, *, weight: float, refused: bool = False) -> Request:
    boundary = "----afterload-7MA4YWxkTrZu0gW"
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{name.replace(chr(92), chr(92) * 2)}"\r\n\r\n'
    path = folder / f"{file}.body"
    path.write_bytes(head.encode() + content + f"\r\n--{boundary}--\r\n".encode())
    return Request(
        name="POST /upload (refused)" if refused else "POST /upload",
        method="POST",
        path="/upload",
        headers={"content-type": f"multipart/form-data; boundary={boundary}"},
        body_file=path,
        weight=weight,
        has_tasks=not refused,
    )


def picture(chance: random.Random, n_bytes: int, format_: str) -> bytes:
    """A picture of about that many bytes, with light and shade, and the grain that makes photos hard to compress."""

    def draw(side: int) -> bytes:
        coarse = Image.frombytes("RGB", (12, 9), chance.randbytes(12 * 9 * 3)).resize(
            (side * 4 // 3, side), Image.Resampling.BICUBIC
        )
        grain = Image.frombytes("L", (101, 101), chance.randbytes(101 * 101)).resize(coarse.size, Image.Resampling.NEAREST)
        buffer = io.BytesIO()
        Image.blend(coarse, grain.convert("RGB"), 0.08).save(buffer, format_)
        return buffer.getvalue()

    side, drawn = 240, b""
    for _ in range(_TRIALS):
        drawn = draw(side)
        side = max(32, int(side * (n_bytes / len(drawn)) ** 0.5))
    return drawn


def table(chance: random.Random, n_bytes: int) -> bytes:
    """A CSV file of about that many bytes: a time series of four columns."""
    lines = ["time,temperature,humidity,pressure"]
    lines += [f"{n},{chance.gauss(20, 5):.3f},{chance.random() * 100:.2f},{chance.gauss(1013, 8):.1f}" for n in range(1000)]
    block = ("\n".join(lines[1:]) + "\n").encode()
    return (lines[0] + "\n").encode() + block * max(1, round(n_bytes / len(block)))


def check(rows: Rows, settings: Settings, folder: Path) -> Check:
    """What is on the disk, compared with what the clients sent and not with what the app says of it."""
    sent = contents(settings.seed, settings).good
    return check_disk(rows, folder, {hashlib.sha256(content).hexdigest() for _, content in sent})


SCENARIO = Scenario(
    name="files",
    summary="Upload a file; checksum, compressed copy and preview are made after the response, which takes the processor.",
    story=(
        "Work for the processor: answers and work become slow together, and more threads do not help. The kill "
        "leaves no file half-written, and forgets those that had not begun."
    ),
    plan=Plan(rate_per_s=60.0, duration_s=10.0, pool=2, faults=("kill@6s",)),
    tasks=(Task("process", effect="processed files"),),
    settings=(
        size("size", "250KB", "how big a typical upload is", low="10KB", high="5MB"),
        size("limit", "4MB", "a bigger file is refused with 413", low="10KB", high="15MB"),
        count("level", "9", "in which blocks the copy is compressed, 100KB times so many: 9 takes longest", low=1, high=9),
        share("bad", "3%", "uploads that are too big, of a wrong kind, or broken", high="50%"),
    ),
    app=app_of("files"),
    traffic=traffic,
    world=start_disk,
    check=check,
    has_body_files=True,
)
