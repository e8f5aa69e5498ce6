"""What every program of ours begins with: its settings, its log, its end with its parent, its errors as sentences.

* Light on purpose: a gateway imports it and runs for months on a small computer, so no tables, no database here.
* Exit codes: 0 done, 1 something is unavailable, 78 a file or setting is wrong.
"""

import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from pipeline import metrics, service
from pipeline.errors import EXIT_CONFIG, ConfigError, RootdxError
from pipeline.settings import Settings, read_settings
from simulators.errors import InputError

Config = Annotated[
    Path | None, typer.Option("--config", "-c", help="Settings file (TOML). Without it: defaults for a bench.")
]
PARENT: Final = "ROOTDX_DEMO_PARENT"
"""Environment variable: the process to end with."""


def alone() -> typer.Typer:
    """A command line for one command; the front door takes it in by `add_typer`."""
    return typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="rich")


def begin(work: Callable[[], Any]) -> None:
    """Runs a program, its errors told in a sentence."""
    follow_parent()
    service.configure_logging("WARNING")
    try:
        work()
    except (ConfigError, InputError) as error:
        sys.stderr.write(f"rootdx: {error}\n")
        raise SystemExit(EXIT_CONFIG) from error
    except RootdxError as error:
        sys.stderr.write(f"rootdx: {error}\n")
        raise SystemExit(1) from error


def follow_parent() -> None:
    """In a process of a demo: end with it, also when it is killed. Linux only; elsewhere Ctrl-C and a clean end do."""
    parent = os.environ.get(PARENT)
    if parent is None or sys.platform != "linux":
        return
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(1, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != int(parent):
        raise SystemExit("the demo this process belonged to is gone")


def settings_of(config: Path | None) -> Settings:
    """The settings of a file, of the file that ROOTDX_CONFIG names, or the defaults.

    Raises:
        ConfigError: names file, key, value and what was expected.
    """
    given = config or (Path(os.environ["ROOTDX_CONFIG"]) if os.environ.get("ROOTDX_CONFIG") else None)
    settings = read_settings(given)
    service.configure_logging(settings.log_level)
    metrics.serve_at(settings.metrics)
    return settings
