"""Upload a picture or a table; its checksum, a compressed copy and a preview are made after the response.

Work for the processor, and only partly without the interpreter's lock. More threads do not help beyond the cores, the answers
become slow together with the work, and a restart leaves files half-written: so every output is built aside and appears whole, by
a rename.
"""

from __future__ import annotations

import bz2
import csv
import hashlib
import io
import json
import random
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Annotated, Any, BinaryIO

from fastapi import BackgroundTasks, FastAPI, Header, HTTPException, UploadFile
from fastapi.concurrency import run_in_threadpool
from PIL import Image, ImageOps

from scenarios import (
    Check,
    Plan,
    Request,
    Rows,
    Scenario,
    Settings,
    Task,
    TaskKind,
    count,
    endpoint_of,
    share,
    size,
    task_of,
)
from scenarios.world.disk import check_disk, start_disk

__all__ = ["SCENARIO"]

_PICTURES = {".jpg", ".jpeg", ".png"}
_TABLES = {".csv"}
_MOST_PIXELS = 50_000_000
_CHUNK = 64 * 1024
_PREVIEW = (256, 256)
_AGAIN = "this operation has been uploaded before"
_TRIALS = 4  # until a picture has about the size that was asked for

# It becomes a part of a path, and clients can send what they like.
OpId = Annotated[str, Header(alias="x-op-id", pattern=r"^[0-9a-f]{16}$")]


def app(api: type[FastAPI], kind: TaskKind, world: Mapping[str, str], settings: Settings) -> FastAPI:
    """The app under test, on whichever class it is given."""
    incoming, done = Path(world["incoming"]), Path(world["done"])
    limit, level = settings.bytes("limit"), settings.count("level")

    def process(upload: Path) -> None:
        process_upload(upload, done, level)

    async def process_async(upload: Path) -> None:
        # There is no "async" way to compute: what an event loop must not do is given to a thread.
        await run_in_threadpool(process_upload, upload, done, level)

    task = task_of(kind, process, process_async)

    def store(file: UploadFile, op: str) -> Path:
        path = incoming / stored_name(op, file.filename)
        if (done / op).exists():
            raise HTTPException(409, _AGAIN)
        return store_upload(file.file, path, limit)

    def upload(file: UploadFile, background_tasks: BackgroundTasks, op: OpId) -> dict[str, str]:
        background_tasks.add_task(task, store(file, op))
        return {"status": "accepted", "id": op, "name": shown_name(file.filename)}

    async def upload_async(file: UploadFile, background_tasks: BackgroundTasks, op: OpId) -> dict[str, str]:
        background_tasks.add_task(task, await run_in_threadpool(store, file, op))
        return {"status": "accepted", "id": op, "name": shown_name(file.filename)}

    def upload_inline(file: UploadFile, op: OpId) -> dict[str, str]:
        process(store(file, op))
        return {"status": "done", "id": op, "name": shown_name(file.filename)}

    files_app = api(title="files")
    endpoint = upload_async if kind is TaskKind.ASYNC else endpoint_of(kind, upload, upload_inline)
    files_app.post("/upload", status_code=202)(endpoint)
    return files_app


def stored_name(op: str, client_name: str | None) -> str:
    """The name under which an upload is stored: ours, with a suffix that we know. Nothing of the client's name is used."""
    suffix = PurePosixPath(shown_name(client_name)).suffix.lower()
    if suffix not in _PICTURES | _TABLES:
        allowed = ", ".join(sorted(_PICTURES | _TABLES))
        raise HTTPException(415, f"{suffix or 'a file without a suffix'} is not taken here; allowed: {allowed}")
    return f"{op}{suffix}"


def shown_name(client_name: str | None) -> str:
    """The last part of the name that the client gave, by the rules of either kind of path: to be shown, never to be opened."""
    return PureWindowsPath(client_name or "").name[-255:].replace("\0", "")


def store_upload(source: BinaryIO, path: Path, limit: int) -> Path:
    """Streams an upload to disk; there is nothing at `path` until all of it has been written."""
    part = path.with_name(f".{path.name}.part")
    try:
        # "x": two uploads of one operation must not write into one file.
        with part.open("xb") as target:
            total = 0
            while chunk := source.read(_CHUNK):
                total += len(chunk)
                if total > limit:
                    raise HTTPException(413, f"more than the {limit:,} bytes that are taken here")
                target.write(chunk)
    except FileExistsError:
        raise HTTPException(409, _AGAIN) from None
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    try:
        if not total:
            raise HTTPException(422, "the file is empty")
        path.hardlink_to(part)  # as a rename, but never over a file that is there
    except FileExistsError:
        raise HTTPException(409, _AGAIN) from None
    finally:
        part.unlink()
    return path


def process_upload(upload: Path, done: Path, level: int) -> None:
    """Checksum, compressed copy, preview: built in a folder aside, which gets its name when all of it is there.

    Not synced to the disk: a rename is safe from the death of this process, and a loss of power is another experiment.
    """
    part = done / f".{upload.stem}.part"
    part.mkdir()
    try:
        with upload.open("rb") as source:
            checksum = hashlib.file_digest(source, "sha256").hexdigest()  # without the lock
            source.seek(0)
            with bz2.open(part / "copy.bz2", "wb", compresslevel=level) as copy:  # without the lock
                shutil.copyfileobj(source, copy, _CHUNK)
        if upload.suffix in _PICTURES:
            make_thumbnail(upload, part / "preview.webp")
        else:
            (part / "preview.json").write_text(json.dumps(summarise(upload)), encoding="utf-8")
        (part / "about.json").write_text(json.dumps({"sha256": checksum, "bytes": upload.stat().st_size}), encoding="utf-8")
        part.rename(done / upload.stem)
    except BaseException:
        shutil.rmtree(part)
        raise
    upload.unlink()


def make_thumbnail(picture: Path, target: Path) -> None:
    """A small picture. Pillow decodes and scales without the lock."""
    with Image.open(picture) as image:
        if image.width * image.height > _MOST_PIXELS:
            msg = f"{picture.name} has {image.width} x {image.height} pixels, more than {_MOST_PIXELS:,}"
            raise ValueError(msg)
        upright = ImageOps.exif_transpose(image)
        upright.thumbnail(_PREVIEW)
        upright.convert("RGB").save(target)


def summarise(table: Path) -> dict[str, Any]:
    """Rows and means of the columns. In plain Python: whoever waits for the lock waits for this."""
    with table.open(newline="", encoding="utf-8") as lines:
        reader = csv.reader(lines)
        header = next(reader, [])
        sums, n_rows = [0.0] * len(header), 0
        for row in reader:
            n_rows += 1
            for column, value in enumerate(row):
                sums[column] += float(value)
    return {"rows": n_rows, "mean": {name: total / max(n_rows, 1) for name, total in zip(header, sums, strict=True)}}


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
    app=app,
    traffic=traffic,
    world=start_disk,
    check=check,
    has_body_files=True,
)
