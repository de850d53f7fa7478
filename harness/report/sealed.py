"""What every page of ours is made of: one file that loads nothing, in which nothing runs but its own scripts.

Its Content-Security-Policy names its style and scripts by their hash. Whatever a user, a server or a log may have said is
escaped.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

__all__ = ["REPORT", "embedded", "policy", "read_parts", "templates"]

REPORT = Path(__file__).parent


def templates(*folders: Path) -> Environment:
    """Templates of these folders; what is not known is an error, and not empty."""
    return Environment(
        loader=FileSystemLoader(folders),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )


def policy(script: str, style: str) -> str:
    """What the page may do."""
    allowed = f"script-src '{_hash(script)}'; style-src '{_hash(style)}'"
    return f"default-src 'none'; {allowed}; base-uri 'none'; form-action 'none'"


def embedded(data: Any) -> Markup:
    """JSON that cannot end the element that it is in, nor begin a comment in it."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))  # noqa: S704


def read_parts(paths: Iterable[Path]) -> str:
    """Our own scripts or styles, one after the other."""
    return "\n".join(path.read_text(encoding="utf-8") for path in paths)


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
