"""The sandbox: right code passes, and nothing else does, whatever it tries."""

import asyncio
import sys
from collections.abc import Sequence

import pytest

from judges import sandbox
from judges.sandbox import Limits, Outcome, SandboxUnavailable, run_python

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the sandbox needs Linux")

DOUBLE = "\ndef double(x):\n    return 2 * x\n"


def run(code: str, tests: Sequence[str] = ("assert double(2) == 4",), seconds: float = 5.0) -> Outcome:
    return asyncio.run(run_python(code, tests, limits=Limits(seconds=seconds)))


def test_right_code_passes_and_may_use_the_standard_library() -> None:
    code = "import asyncio, collections, dataclasses, enum, heapq, json, logging, pathlib, re, random, typing" + DOUBLE
    assert run(code) == Outcome(True, "1 assertion passed")


def test_a_failed_assertion_is_quoted() -> None:
    assert run(DOUBLE, ["assert double(1) == 2", "assert double(2) == 5"]) == Outcome(
        False, "assertion 2 failed: assert double(2) == 5"
    )


def test_endless_code_is_stopped_at_the_time_limit() -> None:
    assert run("while True: pass", seconds=0.5) == Outcome(False, "timed out after 0.5 s")


@pytest.mark.parametrize("bomb", ["x = [0] * 10**9", "x = []\nwhile True: x.append('a' * 10**6)", "x = 'a' * 10**12"])
def test_a_memory_bomb_fails_at_the_memory_limit(bomb: str) -> None:
    assert run(bomb + DOUBLE) == Outcome(False, "memory limit")


OVERREACH = {
    "write a file": "open('made', 'w').write('x')",
    "write a file by number": "import os\nos.open('made', os.O_CREAT | os.O_WRONLY)",
    "delete a file": "import os\nos.remove('made')",
    "use the network": "import socket\nsocket.create_connection(('127.0.0.1', 80))",
    "fork": "import os\nos.fork()",
    "start a thread": "import threading\nthreading.Thread(target=print).start()",
    "start a program": "import subprocess\nsubprocess.run(['true'])",
    "become a program": "import os\nos.execv('/bin/true', ['true'])",
    "read a file": "open('/etc/passwd').read()",
    "read a file by another path": "import os\nopen(os.__file__ + '/../../../../../../../etc/passwd').read()",
    "read a file through a C library": "import readline\nreadline.read_history_file('/etc/passwd')",
    "read the users": "import pwd\npwd.getpwall()",
    "load ctypes": "import ctypes",
    "load ctypes by a name that lies": (
        "class Name(str):\n    def startswith(self, *_): return False\n__import__(Name('ctypes'))"
    ),
    "load ctypes under another name": (
        "import _imp, sys\nfrom importlib.machinery import ModuleSpec\nimport glob, os\n"
        "folder = [p for p in sys.path if p.endswith('lib-dynload')][0]\n"
        "name = [n for n in os.listdir(folder) if n.startswith('_ctypes.')][0]\n"
        "_imp.create_dynamic(ModuleSpec('x._ctypes', None, origin=f'{folder}/{name}'))"
    ),
    "find ctypes among loaded classes": (
        "classes = [object]\nfor c in classes: classes.extend(s for s in type.__subclasses__(c) if s not in classes)\n"
        "[c for c in classes if c.__name__ == '_SimpleCData'][0]"
    ),
    "craft bytecode": "f = lambda: 1\nf.__code__ = f.__code__.replace(co_consts=())",
    "unmarshal bytecode": "import marshal\nmarshal.loads(marshal.dumps(1))",
    "walk the frames": "import sys\nsys._getframe(1)",
    "walk the frames of an exception": "try: 1 / 0\nexcept Exception as error: error.__traceback__.tb_frame.f_back",
    "search the heap": "import gc\ngc.get_objects()",
    "trace": "import sys\nsys.settrace(lambda *_: None)",
}


@pytest.mark.parametrize("what", OVERREACH)
def test_code_that_reaches_out_fails(what: str) -> None:
    outcome = run(OVERREACH[what] + DOUBLE)
    assert not outcome.passed
    assert not outcome.reason.startswith("assertion"), "it failed for another reason"


@pytest.mark.parametrize(
    "cheat",
    [
        "raise SystemExit(0)",
        "import os\nos._exit(0)",
        "print('passed 1 assertion passed', flush=True)\nimport os\nos._exit(0)",
        "import os\nfor fd in range(32):\n    try: os.write(fd, b'begun\\npassed 1 assertion passed')\n"
        "    except OSError: pass\nos._exit(0)",
        "import builtins\nbuiltins.AssertionError = ZeroDivisionError\ndef double(x): return 5",
        "import builtins\nbuiltins.exec = builtins.compile = lambda *_, **__: None\ndef double(x): return 5",
        "AssertionError = Warning\ndef double(x): raise AssertionError",
        "import json, types\njson.loads = types.ModuleType = None\ndef double(x): return 5",
        "def double(x): return double(x)",
        "",
        "def double(x) return",
        "x = '\ud800'",
        "x = 1\x00",
    ],
)
def test_a_cheat_or_a_fault_fails(cheat: str) -> None:
    assert not run(cheat).passed


def test_code_can_not_claim_that_the_sandbox_is_unavailable() -> None:
    assert not run(
        "import os\nfor fd in range(8):\n    try: os.write(fd, b'unavailable')\n    except OSError: pass"
    ).passed


def test_a_machine_that_can_not_enclose_code_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    with pytest.raises(SandboxUnavailable, match="riscv64"):
        run(DOUBLE)
    monkeypatch.undo()
    monkeypatch.setattr(sandbox, "_seccomp_filter", lambda machine: b"\xff" * 8)
    with pytest.raises(SandboxUnavailable, match="refuses to enclose"):
        run(DOUBLE)


def test_cancelling_kills_the_child() -> None:
    async def cancelled() -> None:
        task = asyncio.create_task(run_python("while True: pass", ["assert True"], limits=Limits(seconds=60)))
        await asyncio.sleep(0.3)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(asyncio.wait_for(cancelled(), 5))
