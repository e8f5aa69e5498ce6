"""Under which account a server runs when root starts it, and what that account can reach."""

import os
import pwd
import shutil
from collections.abc import Mapping
from pathlib import Path, PurePath

from pipeline.errors import ConfigError


def account_of(folder: Path, name: str) -> pwd.struct_passwd:
    """Whose server root runs: the data's owner, else whoever called sudo, else nobody. initdb wants one with a name."""
    data = folder / name
    uid = data.stat().st_uid if data.exists() else int(os.environ.get("SUDO_UID", "0"))
    try:
        return pwd.getpwuid(uid) if uid else pwd.getpwnam("nobody")
    except KeyError as error:
        raise ConfigError("no account to run the servers under: start as an ordinary user, not as root") from error


def reaches(account: pwd.struct_passwd, path: Path) -> bool:
    """Whether the account may enter every folder on the way and the path itself (run it, if it is a program)."""
    path = path.resolve()
    for status in (step.stat() for step in (path, *path.parents)):
        bit = 0o100 if status.st_uid == account.pw_uid else 0o010 if status.st_gid == account.pw_gid else 0o001
        if not status.st_mode & bit:
            return False
    return True


def inside(file: PurePath) -> Path:
    """Where a wheel's file goes in a copy: the same place, with the way out to the environment's bin folder cut off."""
    return Path(*(part for part in file.parts if part != ".."))


def copied(files: Mapping[Path, Path], folder: Path) -> None:
    """Copies a wheel's files (from, to) into a folder that everybody can read; all or nothing."""
    draft = folder.with_name(folder.name + ".draft")
    shutil.rmtree(draft, ignore_errors=True)
    for source, target in files.items():
        if "include" in target.parts or not source.is_file():
            continue
        (draft / target).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, draft / target)
        (draft / target).chmod(0o755)
    for path in (draft.parent, draft, *(path for path in draft.rglob("*") if path.is_dir())):
        path.chmod(0o755)
    draft.rename(folder)
