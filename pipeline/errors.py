"""Every error rootdx raises, and its one fate.

    RootdxError
    ├── ConfigError    a file or setting is wrong: the process stops with exit code 78, nobody retries
    ├── Unavailable    a device, bus, store or disk is away: service.keep retries, nobody else does
    │   └── SpoolFull  the spool cannot take more even after dropping its oldest: counted as loss
    └── BadData        this item is wrong: quarantined and counted, the stream goes on

Anything else that is raised is a bug: it ends the process, the service manager restarts it, the ledger holds.
"""

EXIT_CONFIG = 78
"""Exit code of a ConfigError (EX_CONFIG of sysexits.h); service managers must not restart on it."""


class RootdxError(Exception):
    """The root of the tree; never raised itself."""


class ConfigError(RootdxError):
    """A file, key or value that a person has to change. The text names all three and the remedy."""


class Unavailable(RootdxError):
    """Something outside this process does not answer; worth trying again later."""


class SpoolFull(Unavailable):
    """Neither the spool's cap nor the disk leaves room for what was to be appended."""


class BadData(RootdxError):
    """One item that can never be stored as it is."""
