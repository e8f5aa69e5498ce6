"""Starts a program as systemd does with `SystemCallFilter=~GROUP …`: calls of these groups end with EPERM.

    python without_calls.py @privileged,@resources PROGRAM ARGUMENT…

Needs libseccomp and systemd-analyze, which belong to systemd. Imports nothing of ours: it runs as the program does.
"""

import ctypes
import ctypes.util
import errno
import os
import subprocess
import sys
from collections.abc import Iterator

_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_NO_NEW_PRIVILEGES = 38


def names(group: str) -> Iterator[str]:
    """The system calls of a group and of the groups in it."""
    told = subprocess.run(["systemd-analyze", "syscall-filter", group], capture_output=True, text=True, check=True)
    for line in told.stdout.splitlines()[1:]:
        word = line.strip()
        if word.startswith("@"):
            yield from names(word)
        elif word and not word.startswith("#"):
            yield word


def refuse(groups: list[str]) -> None:
    """From here on, for this process and its children."""
    found = ctypes.util.find_library("seccomp")
    assert found is not None
    lib = ctypes.CDLL(found)
    lib.seccomp_init.restype = ctypes.c_void_p
    context = ctypes.c_void_p(lib.seccomp_init(ctypes.c_uint32(_ALLOW)))
    for name in {name for group in groups for name in names(group)}:
        number = lib.seccomp_syscall_resolve_name(name.encode())
        if number >= 0:  # one of this processor
            assert lib.seccomp_rule_add(context, ctypes.c_uint32(_ERRNO | errno.EPERM), number, 0) == 0
    assert ctypes.CDLL(None).prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0) == 0
    assert lib.seccomp_load(context) == 0


if __name__ == "__main__":
    refuse(sys.argv[1].split(","))
    os.execvp(sys.argv[2], sys.argv[2:])
