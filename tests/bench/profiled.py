"""The real gateway, writer or feeder under a profiler; the profile is written when it is told to stop.

python -m tests.bench.profiled FILE gateway|writer --config SETTINGS
"""

import cProfile
import sys
import time
from pathlib import Path

from collectors import gateway
from pipeline import service, writer
from pipeline.settings import read_settings
from rootdx.program import follow_parent


def main() -> int:
    follow_parent()
    file, what, settings = sys.argv[1], sys.argv[2], read_settings(Path(sys.argv[4]))
    service.configure_logging(settings.log_level)
    work = {"gateway": gateway.run, "writer": writer.run}[what]
    profile = cProfile.Profile(time.thread_time)  # waiting costs nothing
    profile.enable()
    try:
        return service.run(lambda: work(settings))
    finally:
        profile.disable()
        profile.dump_stats(file)


if __name__ == "__main__":
    raise SystemExit(main())
