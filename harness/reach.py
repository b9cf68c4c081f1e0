"""What can be reached over the network: the hub, the package index, the API. Asked once, briefly, and without keys."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Mapping
from http.client import HTTPException
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

from harness.findings import Finding, ok, warning

TIMEOUT_S = 4.0
"""For all together. A name server may keep silent for longer than any timeout of a connection."""
PYPI = "https://pypi.org/simple/"
HUB, INDEX, API = "hub", "package index", "API"
TRUE = ("1", "true", "yes", "on")
REMEDIES = {
    HUB: "check network and proxy (HTTPS_PROXY), or name a mirror by HF_ENDPOINT; checkpoints in folders need no hub",
    INDEX: "check network and proxy, or pip's index-url; only smollm2 and bench data pull fetch from it",
    API: "check OPENAI_BASE_URL, and that its server runs",
}


def reach_findings(*, offline: bool) -> list[Finding]:
    """Whether each place answers at all; that it lets anybody in is not asked."""
    if offline:
        return [ok("network", "not asked (--offline)")]
    findings, places = [], {}
    silent = next((name for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE") if _is_set(name)), None)
    if silent:
        findings.append(ok(HUB, f"not asked: {silent} is set, so only what is in the hub's cache is used"))
    else:
        places[HUB] = os.environ.get("HF_ENDPOINT") or "https://huggingface.co"
    if find_spec("pip") is None:
        findings.append(
            warning(
                INDEX,
                "pip is not in this environment, and fetches smollm2",
                "python -m ensurepip, or uv pip install pip",
            )
        )
    else:
        places[INDEX] = _index_url()
    if api := os.environ.get("OPENAI_BASE_URL"):
        places[API] = api
    for what, (host, failure) in _asked(places).items():
        if failure:
            findings.append(warning(what, f"{host} can not be reached: {failure}", REMEDIES[what]))
        else:
            findings.append(ok(what, f"{host} answers"))
    return findings


def _is_set(name: str) -> bool:
    return os.environ.get(name, "").lower() in TRUE


def _index_url() -> str:
    """Where pip fetches from, by its own settings."""
    try:
        # -P: a pip.py in the current folder is not ours to run.
        done = subprocess.run(
            [sys.executable, "-P", "-m", "pip", "--disable-pip-version-check", "config", "list"],
            capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return PYPI
    # global.index-url='https://…': the environment's (:env:) is listed last, and wins.
    found = [line.partition("=")[2].strip("'\"") for line in done.stdout.splitlines() if ".index-url=" in line]
    return found[-1] if found else PYPI


def _asked(places: Mapping[str, str]) -> dict[str, tuple[str, str | None]]:
    """By place: its host, and why it does not answer (None: it does)."""
    answers: dict[str, str | None] = {}

    def ask(what: str, url: str) -> None:
        answers[what] = failure_of(url)

    threads = [threading.Thread(target=ask, args=place, daemon=True) for place in places.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIMEOUT_S + 0.5)
    silence = f"no answer within {TIMEOUT_S:.0f} s"
    return {what: (_host(url), answers.get(what, silence)) for what, url in places.items()}


def failure_of(url: str) -> str | None:
    """Why nothing answers at a URL, or None. All that an HTTP server says is an answer, but its own failure."""
    try:
        parts = urlsplit(url)
        if parts.scheme == "file":
            return None if Path(parts.path).exists() else "there is no such folder"
        if parts.scheme not in ("http", "https") or not parts.hostname:
            return "its URL is no http(s) address"
        # A user name and password in the address stay here, and out of what is printed.
        address = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
        request = urllib.request.Request(address, method="HEAD", headers={"User-Agent": "bench-doctor"})
        with urllib.request.urlopen(request, timeout=TIMEOUT_S):
            return None
    except urllib.error.HTTPError as error:
        return f"status {error.code}" if error.code >= 500 else None
    except urllib.error.URLError as error:
        reason = error.reason
        # That a proxy refuses (407, say) is an OSError without a strerror.
        return (reason.strerror if isinstance(reason, OSError) else None) or str(reason) or type(reason).__name__
    except TimeoutError:
        return f"no answer within {TIMEOUT_S:.0f} s"
    except (OSError, ValueError, HTTPException) as error:
        return type(error).__name__


def _host(url: str) -> str:
    try:
        return urlsplit(url).netloc.rpartition("@")[2] or "the address given"
    except ValueError:
        return "the address given"
