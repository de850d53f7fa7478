"""Takes an upload, and processes it after the response: thumbnails of pictures, sums of tables."""

from __future__ import annotations

import bz2
import csv
import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Annotated, Any, BinaryIO

from fastapi import BackgroundTasks, FastAPI, Header, HTTPException, UploadFile
from fastapi.concurrency import run_in_threadpool
from PIL import Image, ImageOps

from scenarios import Settings, TaskKind, endpoint_of, task_of

__all__ = ["app"]

_PICTURES = {".jpg", ".jpeg", ".png"}
_TABLES = {".csv"}
_MOST_PIXELS = 50_000_000
_CHUNK = 64 * 1024
_PREVIEW = (256, 256)
_AGAIN = "this operation has been uploaded before"

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
