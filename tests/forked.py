"""Starts Seedbed's processes in the tests without starting an interpreter for each, which would have to import torch again.

A server with a single thread has imported what jobs and commands need, and forks a child for each process. The child becomes
what a new interpreter would be: it has the arguments, environment, folder, streams, limits, signals, session and process group
that `subprocess.Popen` asks for, ends like an interpreter, and its id is that of the process that was started. Only its parent
differs: that is the server. A process that needs something else, for example another value of a variable that an interpreter or
torch reads when it starts, is started as usual; so is every process if the environment variable SEEDBED_TEST_FORK is 0.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import inspect
import io
import json
import os
import pkgutil
import random
import resource
import runpy
import select
import selectors
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import warnings
import weakref
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

SWITCH = "SEEDBED_TEST_FORK"
TESTS = Path(__file__).resolve().parent
MODULES = ("seedbed", "seedbed.jobs")
SCRIPTS = tuple(str(TESTS / name) for name in ("fake_seedbed.py", "fake_job.py", "paced_seedbed.py", "paced_job.py"))
"""What is started in a forked child: `python -m MODULE`, with or without -P, and `python SCRIPT`."""
PRELOADED = ("torch", "safetensors.torch", "tokenizers", "jinja2", "rich.live", "rich.table", "psutil", "threadpoolctl")
PRELOADED_PACKAGES = ("seedbed.jobs", "seedbed.cli", "seedbed.actions", "seedbed.runs", "seedbed.presentation")
NEVER_PRELOADED = ("huggingface_hub", "datasets", "transformers", "textual")
"""Libraries that read the environment when they are imported."""
START_VARIABLES = (
    *("PYTHON", "VIRTUAL_ENV", "LANG", "LC_", "LD_", "MALLOC_"),
    *("TORCH", "PYTORCH_", "ATEN_", "CUDA_", "NVIDIA_"),
    *("OMP_", "KMP_", "GOMP_", "MKL_", "OPENBLAS_"),
)
"""The beginnings of variables that an interpreter or a preloaded library reads when it starts."""
APPLIED_VARIABLES = ("PYTHONWARNINGS", "TORCHINDUCTOR_CACHE_DIR")
"""Those among them that a child applies by itself, or that are read later: jobs set the folder for compiled kernels."""
LIMITS = tuple(getattr(resource, name) for name in dir(resource) if name.startswith("RLIMIT_"))

_REPLY = struct.Struct("=ii")
_RUNS = -1 << 30
"""Instead of an exit status: the process has started."""
_SIGNATURE = inspect.signature(subprocess.Popen._execute_child)  # type: ignore[attr-defined]
StandardPopen = subprocess.Popen


class Request(NamedTuple):
    """A process to start; the three streams are sent with it."""

    command: list[str]
    environment: dict[str, str]
    folder: str
    new_session: bool
    group: int
    umask: int
    limits: list[tuple[int, int]]
    ignored: list[int]
    blocked: list[int]


class Server(NamedTuple):
    """A server, and what its children have in common with it."""

    address: str
    start_variables: dict[str, str]
    session: int
    affinity: set[int]


_first_environment: dict[str, str] = {}
"""The environment of a server, if processes are to be forked."""
_server: Server | None = None
"""The server of this process; a child that was forked by one uses the same."""
_process: subprocess.Popen[Any] | None = None
"""The server's process, in the test process."""


def _start_server() -> Server:
    global _process
    address = str(Path(tempfile.mkdtemp(prefix="forked-"), "socket"))
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen(64)
        command = [sys.executable, __file__, str(listener.fileno()), address]
        _process = StandardPopen(
            command,
            env=_first_environment,
            stdin=subprocess.PIPE,
            pass_fds=[listener.fileno()],
            process_group=0,  # Ctrl-C is not for it
        )
    return _this_server(address, _first_environment)


def _this_server(address: str, environment: Mapping[str, str]) -> Server:
    return Server(address, _start_variables(environment), os.getsid(0), _affinity())


def _stop_server() -> None:
    global _server, _process
    if _server is not None and _process is not None:
        assert _process.stdin is not None
        _process.stdin.close()
        _process.wait()
    _server = _process = None


class Popen(subprocess.Popen[Any]):
    """`subprocess.Popen`, with a process of the server where that makes no difference."""

    _connection: socket.socket | None = None

    def _execute_child(self, *arguments: Any) -> None:
        asked = _SIGNATURE.bind(self, *arguments).arguments
        request, streams = _request(asked), _streams(asked)
        if request is None or streams is None:
            super()._execute_child(*arguments)  # type: ignore[misc]
            return
        self._connection = _send(request, streams)
        self.pid, status = _REPLY.unpack(_receive(self._connection))
        self._child_created = True
        if status != _RUNS:
            self.returncode = status
        pipes = ("p2cread", "p2cwrite", "c2pread", "c2pwrite", "errread", "errwrite")
        self._close_pipe_fds(*(asked[name] for name in pipes))  # type: ignore[attr-defined]

    def _internal_poll(self, *arguments: Any, **options: Any) -> int | None:
        if self._connection is None:
            found: int | None = super()._internal_poll(*arguments, **options)  # type: ignore[misc]
            return found
        self._look(0)
        return self.returncode

    def _wait(self, timeout: float | None) -> int:
        if self._connection is None:
            status: int = super()._wait(timeout)  # type: ignore[misc]
            return status
        end = None if timeout is None else time.monotonic() + timeout
        while self.returncode is None:
            left = 0.05 if end is None else end - time.monotonic()
            if left <= 0:
                assert timeout is not None
                raise subprocess.TimeoutExpired(self.args, timeout)
            self._look(min(left, 0.05))
        return self.returncode

    def _look(self, seconds: float) -> None:
        """Read the exit status if it arrives within a time."""
        connection = self._connection
        if self.returncode is not None or connection is None or not select.select([connection], [], [], seconds)[0]:
            return
        with self._waitpid_lock:  # type: ignore[attr-defined]
            if self.returncode is None:
                reply = _receive(connection)
                self.returncode = _REPLY.unpack(reply)[1] if reply else -signal.SIGKILL  # with its server
                connection.close()


@contextlib.contextmanager
def installed() -> Iterator[None]:
    """Within this context, processes of Seedbed that this process starts are forked by a server."""
    _first_environment.update(os.environ)
    subprocess.Popen = Popen  # type: ignore[misc]
    try:
        yield
    finally:
        subprocess.Popen = StandardPopen  # type: ignore[misc]
        _stop_server()


def _request(asked: Mapping[str, Any]) -> Request | None:
    """The process to fork, or None if it must be a new interpreter."""
    global _server
    command = asked["args"]
    if not isinstance(command, list | tuple) or not command or not all(isinstance(word, str) for word in command):
        return None
    environment = dict(os.environ if asked["env"] is None else asked["env"])
    if not _is_known(command) or environment.get(SWITCH, "1") == "0" or not hasattr(os, "fork"):
        return None
    plain = {
        "preexec_fn": None,
        "shell": False,
        "gid": None,
        "gids": None,
        "uid": None,
        "umask": -1,
        "process_group": -1,
    }
    if any(asked[name] != value for name, value in plain.items()) or asked["executable"] or asked["pass_fds"]:
        return None
    folder = os.path.join(os.getcwd(), os.fspath(asked["cwd"] or ""))
    if not os.path.isdir(folder):
        return None
    _server = _server or _start_server()
    same_session = os.getsid(0) == _server.session
    if (
        not (asked["start_new_session"] or same_session)
        or _start_variables(environment) != _server.start_variables
        or _affinity() != _server.affinity
    ):
        return None
    return Request(
        list(command),
        environment,
        folder,
        asked["start_new_session"],
        os.getpgrp(),
        _umask(),
        [resource.getrlimit(limit) for limit in LIMITS],
        [number for number in signal.valid_signals() if signal.getsignal(number) is signal.SIG_IGN],
        list(signal.pthread_sigmask(signal.SIG_BLOCK, [])),
    )


def _is_known(command: Sequence[str]) -> bool:
    """Whether this command is one of those above."""
    program, *words = command
    if words[:1] == ["-P"]:
        words = words[1:]
    if program != sys.executable or not words:
        return False
    return words[1] in MODULES if words[0] == "-m" and len(words) > 1 else words[0] in SCRIPTS


def _streams(asked: Mapping[str, Any]) -> list[int] | None:
    """The file descriptors for the three streams of the process; None if one is closed."""
    given = (asked["p2cread"], asked["c2pwrite"], asked["errwrite"])
    streams = [number if stream == -1 else stream for number, stream in enumerate(given)]
    try:
        for stream in streams:
            os.fstat(stream)
    except OSError:
        return None
    return streams


def _start_variables(environment: Mapping[str, str]) -> dict[str, str]:
    return {
        name: value
        for name, value in environment.items()
        if name.startswith(START_VARIABLES) and name not in APPLIED_VARIABLES
    }


def _affinity() -> set[int]:
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()


def _umask() -> int:
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("Umask:"):
                return int(line.split()[1], 8)
    found = os.umask(0o022)
    os.umask(found)
    return found


# -------------------------------------------------------------------------------------------------- messages


def _send(request: Request, streams: Sequence[int]) -> socket.socket:
    assert _server is not None
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(_server.address)
    body = json.dumps(request).encode()
    socket.send_fds(connection, [struct.pack("=q", len(body))], streams)
    connection.sendall(body)
    return connection


def _receive(connection: socket.socket) -> bytes:
    """A reply of the server; empty if it has ended."""
    data = b""
    while len(data) < _REPLY.size:
        try:
            part = connection.recv(_REPLY.size - len(data))
        except ConnectionResetError:
            part = b""
        if not part:
            return b""
        data += part
    return data


def _read_request(connection: socket.socket) -> tuple[Request, list[int]] | None:
    header, streams, _, _ = socket.recv_fds(connection, 8, 3)
    if not header:
        return None
    (length,) = struct.unpack("=q", header)
    body = b""
    while len(body) < length:
        part = connection.recv(length - len(body))
        if not part:
            return None
        body += part
    return Request(*json.loads(body)), streams


# -------------------------------------------------------------------------------------------------- the server


def preload() -> None:
    """Import what jobs and commands need. No operation of torch is run: its threads would not survive a fork."""
    for package in PRELOADED_PACKAGES:
        found = importlib.import_module(package)
        for module in pkgutil.walk_packages(found.__path__, f"{package}."):
            if not module.name.endswith("__main__"):
                with contextlib.suppress(ImportError):  # of an extra that is not installed
                    importlib.import_module(module.name)
    for name in PRELOADED:
        importlib.import_module(name)
    for name in MODULES:
        sys.modules.pop(f"{name}.__main__", None)  # each child runs it anew
    loaded = [name for name in NEVER_PRELOADED if name in sys.modules]
    assert not loaded, f"{loaded} read the environment when they are imported"


def serve(listener: socket.socket) -> Request | None:
    """Fork a child for each request. Returns the request in the child, and None in the server when the tests end."""
    running: dict[int, socket.socket] = {}
    woken, wake = socket.socketpair()
    for end in (woken, wake):
        end.setblocking(False)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)
    watched = selectors.DefaultSelector()
    for source in (listener, woken, sys.stdin):
        watched.register(source, selectors.EVENT_READ)
    while True:
        ready = {key.fileobj for key, _ in watched.select()}
        if sys.stdin in ready:
            return None
        if woken in ready:
            with contextlib.suppress(BlockingIOError):
                woken.recv(4096)
            for pid, status in _ended():
                with contextlib.suppress(OSError), running.pop(pid) as connection:
                    connection.sendall(_REPLY.pack(pid, status))
        if listener in ready:
            connection, _ = listener.accept()
            read = _read_request(connection)
            if read is None:
                connection.close()
                continue
            request, streams = read
            child = os.fork()
            if child == 0:
                signal.set_wakeup_fd(-1)
                said = os.dup(connection.fileno())
                # A file that is closed by its number only would be closed again later, and with it another of that number.
                watched.close()
                for owner in (listener, woken, wake, connection, *running.values()):
                    owner.close()
                _become(request, streams, said)
                return request
            running[child] = connection
            for stream in streams:
                os.close(stream)


def _ended() -> Iterator[tuple[int, int]]:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        yield pid, os.waitstatus_to_exitcode(status)


def _become(request: Request, streams: Sequence[int], said: int) -> None:
    """Make this child what a new interpreter would be; then say on `said` that it has started."""
    if request.new_session:
        os.setsid()
    else:
        os.setpgid(0, request.group)
    for number in signal.valid_signals():
        with contextlib.suppress(OSError, ValueError):
            signal.signal(number, signal.SIG_IGN if number in request.ignored else signal.SIG_DFL)
    for name in ("SIGPIPE", "SIGXFSZ"):  # as an interpreter does when it starts
        signal.signal(getattr(signal, name), signal.SIG_IGN)
    if signal.SIGINT not in request.ignored:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.pthread_sigmask(signal.SIG_SETMASK, request.blocked)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    os.environ.clear()
    os.environ.update(request.environment)
    os.chdir(request.folder)
    os.umask(request.umask)
    for limit, values in zip(LIMITS, request.limits, strict=True):
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(limit, (values[0], values[1]))
    os.write(said, _REPLY.pack(os.getpid(), _RUNS))
    _close_all_but_streams()
    time.tzset()
    _open_streams()
    random.seed()
    tempfile.tempdir = None
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed()
    if request.environment.get("PYTHONWARNINGS"):
        sys.warnoptions[:] = request.environment["PYTHONWARNINGS"].split(",")
        warnings._processoptions(sys.warnoptions)  # type: ignore[attr-defined]


def _close_all_but_streams() -> None:
    for name in os.listdir("/proc/self/fd" if os.path.isdir("/proc/self/fd") else "/dev/fd"):
        if int(name) > 2:
            with contextlib.suppress(OSError):
                os.close(int(name))


def _open_streams() -> None:
    """New text streams on the file descriptors 0 to 2, as an interpreter opens them."""
    is_buffered = not os.environ.get("PYTHONUNBUFFERED")
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        old = getattr(sys, name)
        mode, buffering = ("rb", -1) if number == 0 else ("wb", -1 if is_buffered else 0)
        binary: Any = open(number, mode, buffering, closefd=False)  # noqa: SIM115  # open until the end
        is_line_buffered = is_buffered and (number == 2 or os.isatty(number))
        made: Any = io.TextIOWrapper(
            binary,
            old.encoding,
            old.errors,
            newline=None if number == 0 else "\n",
            line_buffering=is_line_buffered,
            write_through=not is_buffered,
        )
        made.mode = "r" if number == 0 else "w"
        setattr(sys, name, made)
        setattr(sys, f"__{name}__", made)


def run(command: Sequence[str]) -> None:
    """Run a command as the interpreter would."""
    sys.orig_argv = list(command)
    words = list(command[1:])
    is_safe = words[0] == "-P"
    if is_safe:
        words = words[1:]
    if words[0] == "-m":
        sys.argv = [words[1], *words[2:]]
        if not is_safe:
            sys.path.insert(0, os.getcwd())
        runpy.run_module(words[1], run_name="__main__", alter_sys=True)
        return
    sys.argv = words
    if not is_safe:
        sys.path.insert(0, str(Path(words[0]).resolve().parent))
    runpy.run_path(words[0], run_name="__main__")


def run_to_the_end(command: Sequence[str]) -> NoReturn:
    """Run a command and end this process as the interpreter would, without taking its modules apart, which takes longest."""
    status = 0
    try:
        run(command)
    except SystemExit as exited:
        if isinstance(exited.code, int):
            status = exited.code & 0xFF
        elif exited.code is not None:
            print(exited.code, file=sys.stderr)
            status = 1
    except BaseException as error:
        sys.excepthook(type(error), error, error.__traceback__)
        status = 1
        if isinstance(error, KeyboardInterrupt):
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGINT)
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    try:
        sys.stdout.flush()
    except (OSError, ValueError) as error:
        print(f"Exception ignored in: {sys.stdout!r}\n{type(error).__name__}: {error}", file=sys.stderr)
        status = 120
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.flush()
    os._exit(status)


def main() -> None:
    global _server
    listener, address = socket.socket(fileno=int(sys.argv[1])), sys.argv[2]
    sys.path.pop(0)  # this folder, which a new interpreter would not have
    preload()
    _server = _this_server(address, os.environ)  # for the processes that children start
    subprocess.Popen = Popen  # type: ignore[misc]
    for finalizer in list(weakref.finalize._registry):  # type: ignore[attr-defined]
        finalizer.atexit = False  # torch would take its operators apart, one by one
    gc.collect()
    gc.freeze()
    request = serve(listener)
    if request is None:
        shutil.rmtree(Path(address).parent, ignore_errors=True)
    else:
        run_to_the_end(request.command)


if __name__ == "__main__":
    main()
