"""Runs Python that a model wrote, against tests the model has not seen, and says whether it passed.

    >>> asyncio.run(run_python("def double(x): return 2 * x", ["assert double(4) == 8"]))
    Outcome(passed=True, reason='1 assertion passed')

The code runs in a child process with no environment, no site-packages, no network, no files but the standard library,
no threads and no further processes. Walls stand around it: a seccomp filter and, where the kernel has it, Landlock,
which the kernel holds; and an audit hook, which sees what they can not (stack frames, file names without Landlock).
The kernel's walls need ctypes to be put up, and ctypes reads raw memory: so one interpreter puts them up and replaces
itself by a fresh one, which has never loaded it.

A verdict counts only if it carries a random nonce, which the child holds in local variables of the frame that runs the
tests. The audit hook closes the ways from Python code to foreign frames and raw memory (ctypes, crafted bytecode), so
leaving early, printing, or patching builtins proves nothing. What remains: an object whose `__eq__` always says yes
satisfies `==`; a test to which this matters should ask for the type too.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import json
import os
import platform
import secrets
import signal
import struct
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn
from weakref import WeakKeyDictionary

KEPT = 4096
"""Bytes read of what the child sends; a verdict is shorter, and a child that floods the pipe has lost."""


BEGUN = b"begun\n"


class SandboxUnavailable(Exception):
    """This machine can not run untrusted code safely, so the code was not run."""


@dataclass(frozen=True)
class Limits:
    """What the code may use: seconds on the clock (its CPU time is bounded by them too), and bytes of address space."""

    seconds: float = 5.0
    memory: int = 512 * 2**20


@dataclass(frozen=True)
class Outcome:
    """Whether the code ran and every assertion held; if not, why."""

    passed: bool
    reason: str


async def run_python(code: str, tests: Sequence[str], *, limits: Limits = Limits()) -> Outcome:
    """Run `code`, then each of `tests` (assert statements that see its names). Cancelling kills the child.

    At most one child a CPU runs at a time for one event loop; the clock starts when the child does.

    Raises:
        SandboxUnavailable: not Linux, an unknown processor, or the kernel refuses the filter.
    """
    nonce = secrets.token_hex(16)
    order = json.dumps({"nonce": nonce, "code": code, "tests": list(tests)}).encode()
    command = _command(limits)
    async with _slots():
        with tempfile.TemporaryDirectory(prefix="sandbox-") as empty:
            sent, status = await _run_child(command, order, empty, limits)
    return _verdict(sent, status, nonce, limits)


def _command(limits: Limits) -> list[str]:
    """The command line of the interpreter that encloses itself and then becomes the one that runs the code."""
    # A virtual environment's interpreter would look for its settings, which the enclosed process can not read.
    interpreter = str(Path(getattr(sys, "_base_executable", sys.executable)).resolve())
    # The child's functions travel as source: a forked child would inherit our memory, an imported module our imports.
    # Its builtins are a copy, so that patching the module `builtins` can not reach them.
    run = (
        f"from __future__ import annotations\n{inspect.getsource(_audit_hook)}\n{inspect.getsource(_child)}\n_child()\n"
    )
    start = f"import builtins; exec({run!r}, {{'__builtins__': vars(builtins).copy(), '__name__': 'sandbox'}})"
    flags = ["-I", "-S", "-c"]
    readable = [interpreter, "/etc/ld.so.cache", "/lib", "/lib64", "/usr/lib", "/usr/lib64", "/nix/store"]
    readable += [f"{sys.base_prefix}/lib", f"{sys.base_prefix}/lib64"]
    enclose = (
        f"_enclose({_seccomp_filter(platform.machine())!r}, {int(limits.seconds) + 1}, {limits.memory}, {readable})"
    )
    become = f"import os\nos.execv({interpreter!r}, {[interpreter, *flags, start]!r})\n"
    return [interpreter, *flags, f"{inspect.getsource(_enclose)}\n{enclose}\n{become}"]


_slots_of_loop: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = WeakKeyDictionary()


def _slots() -> asyncio.Semaphore:
    """The running loop's semaphore: a semaphore belongs to one loop, and tests and commands make several."""
    return _slots_of_loop.setdefault(asyncio.get_running_loop(), asyncio.Semaphore(os.cpu_count() or 1))


async def _run_child(command: list[str], order: bytes, folder: str, limits: Limits) -> tuple[bytes, int | None]:
    """What the child sent, and how it ended: its exit status, or None if it had to be killed."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
        env={}, cwd=folder, start_new_session=True,
    )  # fmt: skip
    assert process.stdin
    assert process.stdout
    sent = b""
    try:
        async with asyncio.timeout(limits.seconds):
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                process.stdin.write(order)
                await process.stdin.drain()
            process.stdin.close()
            while len(sent) < KEPT and (piece := await process.stdout.read(KEPT)):
                sent += piece
            return sent, await process.wait() if len(sent) < KEPT else 0
    except TimeoutError:
        return sent, None
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()


def _verdict(sent: bytes, status: int | None, nonce: str, limits: Limits) -> Outcome:
    """Read the child's message. Without the nonce nothing it sent is believed, and nothing but "passed" passes."""
    # Until it has sent this, the child has run no code but ours.
    if not sent.startswith(BEGUN):
        ending = "did not start in time" if status is None else f"ended with status {status}"
        raise SandboxUnavailable(f"can not run code safely here: {sent.decode(errors='replace')[:300] or ending}")
    _, proof, message = sent.decode(errors="replace").rpartition(nonce)
    if proof:
        verdict, _, reason = message.partition(" ")
        return Outcome(verdict == "passed", reason)
    if status is None or status == -signal.SIGXCPU:
        return Outcome(False, f"timed out after {limits.seconds:g} s")
    ending = f"was killed by signal {-status}" if status < 0 else "ended"
    return Outcome(False, f"the process {ending} before its tests had passed")


# --- The filter. Numbers are name=x86_64/aarch64; 0 where the older call does not exist on aarch64. ---

_AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_DENIED = """
socket=41/198 socketpair=53/199 connect=42/203 bind=49/200 listen=50/201 accept=43/202 accept4=288/242 sendto=44/206
sendmsg=46/211 sendmmsg=307/269 fork=57/0 vfork=58/0 clone=56/220 execveat=322/281 kill=62/129
tkill=200/130 tgkill=234/131 rt_sigqueueinfo=129/138 rt_tgsigqueueinfo=297/240 rt_sigaction=13/134 ptrace=101/117
process_vm_readv=310/270 process_vm_writev=311/271 kcmp=312/272 creat=85/0 unlink=87/0 unlinkat=263/35 rename=82/0
renameat=264/38 renameat2=316/276 mkdir=83/0 mkdirat=258/34 rmdir=84/0 link=86/0 linkat=265/37 symlink=88/0
symlinkat=266/36 mknod=133/0 mknodat=259/33 chmod=90/0 fchmod=91/52 fchmodat=268/53 chown=92/0 fchown=93/55 lchown=94/0
fchownat=260/54 truncate=76/45 ftruncate=77/46 fallocate=285/47 utime=132/0 utimes=235/0 futimesat=261/0
utimensat=280/88 setxattr=188/5 lsetxattr=189/6 fsetxattr=190/7 removexattr=197/14 lremovexattr=198/15
fremovexattr=199/16 name_to_handle_at=303/264 open_by_handle_at=304/265 mount=165/40 umount2=166/39 pivot_root=155/41
chroot=161/51 unshare=272/97 setns=308/268 bpf=321/280 perf_event_open=298/241 add_key=248/217 request_key=249/218
keyctl=250/219 userfaultfd=323/282 memfd_create=319/279 shmget=29/194 shmat=30/196 shmctl=31/195 msgget=68/186
msgsnd=69/189 msgrcv=70/188 msgctl=71/187 semget=64/190 semop=65/193 semctl=66/191 mq_open=240/180 mq_unlink=241/181
setrlimit=160/164 prlimit64=302/261 setuid=105/146 setgid=106/144 setreuid=113/145 setregid=114/143 setresuid=117/147
setresgid=119/149 setgroups=116/159 setfsuid=122/151 setfsgid=123/152 capset=126/91 setsid=112/157 setpgid=109/154
prctl=157/167 seccomp=317/277 personality=135/92 init_module=175/105 finit_module=313/273 delete_module=176/106
kexec_load=246/104 kexec_file_load=320/294 reboot=169/142 swapon=167/224 swapoff=168/225 acct=163/89 quotactl=179/60
settimeofday=164/170 clock_settime=227/112 adjtimex=159/171 clock_adjtime=305/266 sethostname=170/161
setdomainname=171/162 iopl=172/0 ioperm=173/0 modify_ldt=154/0 syslog=103/116 vhangup=153/58 fanotify_init=300/262
inotify_init=253/0 inotify_init1=294/26 sched_setscheduler=144/119 sched_setattr=314/274 migrate_pages=256/238
move_pages=279/239
"""
_OPENS = "open=2/0 openat=257/56"
_FIRST_NEW_CALL = 424
"""From here on numbers are shared by all processors: pidfd, io_uring, clone3, openat2 and whatever comes. They are
denied as unknown, to which libraries answer with the older call; x86_64's x32 calls lie above too."""


def _seccomp_filter(machine: str) -> bytes:
    """A BPF program that refuses to write files, start processes, send signals, use sockets, or change the process.

    It lets a process replace itself, which it has to do once; what comes then is under the same filter.
    """
    if sys.platform != "linux":
        raise SandboxUnavailable(f"running code needs Linux with seccomp; this is {sys.platform}")
    if machine not in _AUDIT_ARCH:
        raise SandboxUnavailable(f"running code needs an x86_64 or aarch64 processor; this is {machine}")

    def numbers(table: str) -> list[tuple[str, int]]:
        pairs = (entry.replace("/", "=").split("=") for entry in table.split())
        named = ((name, int(x86 if machine == "x86_64" else arm), arm) for name, x86, arm in pairs)
        return [(name, number) for name, number, arm in named if machine == "x86_64" or arm != "0"]

    load, equal, at_least, any_bit, answer = 0x20, 0x15, 0x35, 0x45, 0x06
    allow, kill, eperm, enosys = 0x7FFF0000, 0x80000000, 0x00050001, 0x00050026
    # (operation, jump if true, jump if false, operand); loads read struct seccomp_data: number, architecture, ip, args.
    program = [(load, 0, 0, 4), (equal, 1, 0, _AUDIT_ARCH[machine]), (answer, 0, 0, kill), (load, 0, 0, 0)]
    program += [(at_least, 0, 1, _FIRST_NEW_CALL), (answer, 0, 0, enosys)]
    for _, number in numbers(_DENIED):
        program += [(equal, 0, 1, number), (answer, 0, 0, eperm)]
    write_flags = 0x400000 | os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
    for name, number in numbers(_OPENS):
        flags = 16 + 8 * (1 if name == "open" else 2)
        program += [(equal, 0, 4, number), (load, 0, 0, flags), (any_bit, 0, 1, write_flags)]
        program += [(answer, 0, 0, eperm), (answer, 0, 0, allow)]
    program.append((answer, 0, 0, allow))
    return b"".join(struct.pack("=HBBI", *step) for step in program)


# --- The child. These functions are sent as source: they may use builtins, their own imports and each other only. ---


def _enclose(filter_program: bytes, cpu: int, memory: int, readable: list[str]) -> None:
    """Put this process under limits, Landlock and filter, for good; or say on stdout what went wrong, and leave."""
    import ctypes
    import os
    import resource
    import struct

    for what, most in {
        resource.RLIMIT_CPU: cpu,
        resource.RLIMIT_AS: memory,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_NOFILE: 32,
        resource.RLIMIT_NPROC: 0,
    }.items():
        hard = resource.getrlimit(what)[1]
        allowed = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(what, (allowed, allowed))

    library = ctypes.CDLL(None, use_errno=True)
    prctl, syscall = library.prctl, library.syscall
    prctl.argtypes = (ctypes.c_int, *[ctypes.c_ulong] * 4)
    no_new_privileges, set_seccomp, by_filter = 38, 22, 2
    done = prctl(no_new_privileges, 1, 0, 0, 0) == 0

    create_ruleset, add_rule, restrict_self, path_beneath = 444, 445, 446, 1
    execute, read_file, read_folder, all_of_first_version = 1, 4, 8, 0x1FFF
    ruleset = syscall(create_ruleset, struct.pack("=Q", all_of_first_version), ctypes.c_size_t(8), 0)
    if ruleset >= 0:  # an older kernel, or one without Landlock, leaves file names to the audit hook
        for path in filter(os.path.exists, readable):
            place = os.open(path, os.O_PATH)
            rights = execute | read_file | (read_folder if os.path.isdir(path) else 0)  # noqa: PTH112 - no imports
            syscall(add_rule, ruleset, path_beneath, struct.pack("=Qi", rights, place), 0)
            os.close(place)
        done = syscall(restrict_self, ruleset, 0) == 0 and done
        os.close(ruleset)

    class Program(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("steps", ctypes.c_char_p))

    program = Program(len(filter_program) // 8, filter_program)
    if not done or prctl(set_seccomp, by_filter, ctypes.addressof(program), 0, 0):
        os.write(1, f"the kernel refuses to enclose a process (errno {ctypes.get_errno()})".encode())
        os._exit(1)


def _audit_hook(library: tuple[str, ...]) -> Callable[[str, Any], None]:
    """A hook that knows only its own locals: the code under test can patch any module, but not these."""
    denied = ("os.", "sys.", "gc.", "ctypes.", "socket.", "subprocess.", "sqlite3.", "fcntl.", "resource.", "pty.",
              "signal.", "syslog.", "marshal.", "code.__new__", "cpython._PySys_ClearAuditHooks")  # fmt: skip
    harmless = ("os.putenv", "os.unsetenv", "os.walk", "os.fwalk", "sys.excepthook", "sys.unraisablehook",
                "sys._getframemodulename", "sys.set_asyncgen_hooks_firstiter",
                "sys.set_asyncgen_hooks_finalizer")  # fmt: skip
    reads = ("open", "os.listdir", "os.scandir")
    frames = ("tb_frame", "gi_frame", "cr_frame", "ag_frame")
    # Raw memory, other interpreters, and C libraries that open files themselves.
    back_doors = ("ctypes", "_ctypes", "_test", "_xx", "_interp", "pwd", "grp", "spwd", "nis", "readline", "_gdbm",
                  "_dbm", "_tkinter", "_curses")  # fmt: skip

    def hook(event: str, args: Any) -> None:
        if event == "sys._getframe":
            raise ValueError("call stack is not deep enough")  # namedtuple, enum and logging are ready for this one
        if event in reads:
            path = args[0]
            inside = type(path) is str and path.startswith(library) and "/.." not in path
            if not inside and not (event == "open" and type(path) is int):
                raise PermissionError("reading files is not allowed here")
        elif event == "import":
            # A subclass of str could answer as it likes; an extension is found by the last part of its name.
            if (
                type(args[0]) is not str
                or args[0].startswith(back_doors)
                or args[0].split(".")[-1].startswith(back_doors)
            ):
                raise ImportError("this module is not allowed here")
        elif event == "object.__getattr__" and args[1] in frames:
            raise PermissionError("stack frames are out of reach here")
        elif event.startswith(denied) and event not in harmless:
            raise PermissionError(f"{event} is not allowed here")

    return hook


def _child() -> NoReturn:
    """Read the order, run the code, run the tests, send one message, and leave at once. The process is enclosed."""
    import builtins
    import json
    import os
    import sys
    import types

    data = b""
    while piece := os.read(0, 1 << 16):
        data += piece
    order = json.loads(data)
    nonce, tests = order["nonce"], order["tests"]
    write, leave, pristine = os.write, os._exit, vars(builtins).copy()
    out = os.dup(1)
    os.dup2(2, 1)  # stderr is /dev/null

    def tell(verdict: str, reason: str) -> NoReturn:
        write(out, f"{nonce}{verdict} {reason[:300]}".encode(errors="replace"))
        leave(0)

    def described(error: BaseException) -> str:
        place = f" (line {error.lineno})" if isinstance(error, SyntaxError) else ""
        return f"{type(error).__name__}: {error.msg if isinstance(error, SyntaxError) else error}{place}"

    # Ready before memory runs out: nothing else may be allocated then.
    no_memory = f"{nonce}failed memory limit".encode()
    passed = f"{nonce}passed {len(tests)} assertion{'s' * (len(tests) != 1)} passed".encode()
    module = types.ModuleType("reply")  # not __main__: a guarded demonstration in the reply should not run
    sys.modules["reply"] = module
    library = tuple({f"{folder}/" for folder in sys.path} | {folder for folder in sys.path if folder})
    # Crafted bytecode reaches raw memory. So no code object may come but from the compiler: modules are compiled anew
    # (no cache of bytecode), and this decorator, which would alter one, does nothing.
    vars(sys.implementation)["cache_tag"] = None
    types.coroutine = lambda function: function
    write(out, b"begun\n")
    sys.addaudithook(_audit_hook(library))
    step = ""
    try:
        exec(compile(order["code"], "reply", "exec"), module.__dict__)
        for number, test in enumerate(tests, start=1):
            step = f"assertion {number} failed: {test}"
            exec(compile(test, "test", "exec"), {**module.__dict__, "__builtins__": pristine})
    except MemoryError:
        write(out, no_memory)
        leave(0)
    except AssertionError as error:
        tell("failed", f"{step or 'the code raised AssertionError'}{f' ({error})' if str(error) else ''}")
    except SystemExit:
        tell("failed", "the code called exit")
    except BaseException as error:  # noqa: BLE001 - whatever the code raised is its result
        tell("failed", f"{step}{': ' if step else ''}{described(error)}")
    write(out, passed)
    leave(0)
