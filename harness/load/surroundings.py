"""Variables of Locust and gevent in the environment: a setting in someone's shell must not change what is measured."""

from __future__ import annotations

import os
from collections.abc import Set

__all__ = ["forget_settings", "remember_others"]

_forgotten: dict[str, str] = {}


def forget_settings() -> None:
    """Removes them. Two of Locust's act on import (LOCUST_SKIP_MONKEY_PATCH, LOCUST_PLAYWRIGHT prints), gevent's choose another
    event loop or resolver.
    """
    for name in [name for name in os.environ if name.startswith(("LOCUST_", "GEVENT_"))]:
        _forgotten[name] = os.environ.pop(name)


def remember_others(settings: Set[str]) -> None:
    """Puts back those that are no setting of Locust or gevent: a locustfile reads options of its own from them."""
    for name, value in _forgotten.items():
        if name.startswith("LOCUST_") and name not in settings and name != "LOCUST_SKIP_MONKEY_PATCH":
            os.environ.setdefault(name, value)
