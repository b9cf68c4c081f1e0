"""vLLM's log, kept in a file: its processes print tracebacks of hundreds of lines, of which one says what is wrong."""

from __future__ import annotations

import atexit
import json
import os
import re
import shutil
import tempfile
from pathlib import Path

CAUSE = re.compile(r"(?:^|\s)((?:[\w.]+\.)?\w*(?:Error|Exception|OutOfMemory)\w*: .+)$")
CONSEQUENCE = re.compile(r"Engine(Core|Dead)|Engine core|WorkerProc (initialization|hit)|cancelled|Broken pipe")
"""What the other processes say once one has failed."""
CHOSEN = ("VLLM_LOGGING_CONFIG_PATH", "VLLM_LOGGING_LEVEL", "VLLM_CONFIGURE_LOGGING")
"""Whoever sets one of these wants to see the log."""


class EngineLog:
    """The log of one engine. Made before vLLM is imported, which reads where to log from the environment."""

    def __init__(self) -> None:
        self.path: Path | None = None
        self._told = False
        # vLLM's own default is stdout, where only results belong.
        os.environ.setdefault("VLLM_LOGGING_STREAM", "ext://sys.stderr")
        if any(os.environ.get(name) for name in CHOSEN):
            return
        folder = Path(tempfile.mkdtemp(prefix="bench-vllm-"))
        self.path = folder / "vllm.log"
        config = {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {"plain": {"format": "%(asctime)s %(process)d %(levelname)s %(message)s"}},
            "handlers": {
                "file": {
                    "class": "logging.FileHandler",
                    "filename": str(self.path),
                    "formatter": "plain",
                    "delay": True,
                }
            },
            "loggers": {"vllm": {"handlers": ["file"], "level": "INFO", "propagate": False}},
        }
        file = folder / "logging.json"
        file.write_text(json.dumps(config), encoding="utf-8")
        os.environ["VLLM_LOGGING_CONFIG_PATH"] = str(file)
        atexit.register(self.discard)

    def cause(self) -> str | None:
        """The error that came first, in words, with where to read more; None where none is found."""
        try:
            lines = self.path.read_text(encoding="utf-8", errors="replace").splitlines() if self.path else []
        except OSError:
            return None
        found = [match[1].strip() for line in lines if (match := CAUSE.search(line)) and not CONSEQUENCE.search(line)]
        self._told = self._told or bool(found)
        return f"{found[0][:300]} (vLLM's log: {self.path})" if found else None

    def discard(self) -> None:
        """Remove the file, unless a person has been told of it."""
        if self.path and not self._told:
            os.environ.pop("VLLM_LOGGING_CONFIG_PATH", None)
            shutil.rmtree(self.path.parent, ignore_errors=True)
            self.path = None
