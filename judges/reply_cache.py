"""Replies of judge models, kept across runs in the user cache and found again by the full request.

The key is a hash of everything that decides a reply: the model and its server, every message, the settings. A prompt
edited by one letter asks anew. Only replies that held a verdict are kept: an unreadable one is never served again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tasks.conversation import Completion, Message, Settings

WAIT_S = 10.0
"""For another process that writes at the same time."""


class ReplyCache:
    """A SQLite file. A cache that can not be used is left alone with one message: it is a saving, not a record."""

    def __init__(self, path: Path, say: Callable[[str], None]) -> None:
        self._say = say
        self._path = path
        self._database: sqlite3.Connection | None = None
        with self._or_leave_off():
            path.parent.mkdir(parents=True, exist_ok=True)
            # One thread at a time: the engine's event loop. Nothing waits for the disk: what is lost is asked again.
            database = sqlite3.connect(path, timeout=WAIT_S, isolation_level=None, check_same_thread=False)
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("PRAGMA synchronous = OFF")
            database.execute(
                "CREATE TABLE IF NOT EXISTS replies (key TEXT PRIMARY KEY, reply TEXT NOT NULL) WITHOUT ROWID"
            )
            self._database = database

    def get(self, model: Mapping[str, Any], messages: Sequence[Message], settings: Settings) -> Completion | None:
        """The reply to this very request, or None."""
        if self._database is None:
            return None
        with self._or_leave_off():
            found = self._database.execute(
                "SELECT reply FROM replies WHERE key = ?", (_key(model, messages, settings),)
            )
            if row := found.fetchone():
                return Completion(**json.loads(row[0]))
        return None

    def put(self, model: Mapping[str, Any], messages: Sequence[Message], settings: Settings, reply: Completion) -> None:
        """Keep a reply."""
        if self._database is None:
            return
        with self._or_leave_off():
            row = (_key(model, messages, settings), json.dumps(asdict(reply)))
            self._database.execute("INSERT OR REPLACE INTO replies VALUES (?, ?)", row)

    def close(self) -> None:
        if self._database is not None:
            self._database.close()
            self._database = None

    @contextlib.contextmanager
    def _or_leave_off(self) -> Any:
        try:
            yield
        except (sqlite3.Error, OSError, ValueError, TypeError) as error:
            self.close()
            self._say(f"the cache of judges' replies {self._path} can not be used ({error}): going on without it")


def _key(model: Mapping[str, Any], messages: Sequence[Message], settings: Settings) -> str:
    request = json.dumps([model, list(messages), asdict(settings)], sort_keys=True)
    return hashlib.sha256(request.encode()).hexdigest()
