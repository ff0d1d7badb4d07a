"""The project's errors, split by who must act.

HedgeError
├── ConfigError        a person: refuse to start, exit 78 (EX_CONFIG), name the key or folder
│   └── LedgerError    a person: the ledger is corrupt, foreign or too new; it is left untouched
├── LockHeld           a person: another process holds the lock, exit 75 (EX_TEMPFAIL)
├── LedgerFull         the machine: the tick is not done, the reserve is freed, the next one tries
├── VenueUnavailable   the machine: becomes `Blind` at the venue's edge
├── ShadowSlow         the machine: the candidate policy rests, the live one goes on
├── StateWriteError    the machine: the tick is unhealthy, loudly
└── SyncError          the machine: try again next interval
"""

from __future__ import annotations

from execution.core.mirror.pace import Kind

EXIT_CONFIG = 78
EXIT_LOCKED = 75


class HedgeError(Exception):
    """Anything this project raises on purpose."""


class ConfigError(HedgeError):
    """A setting, file or folder that a person must mend before this can start."""


class LedgerError(ConfigError):
    """A ledger that cannot be trusted as it is; it has not been touched."""


class LockHeld(HedgeError):
    """Another process holds the lock that this one needs."""


class LedgerFull(HedgeError):
    """The disk took no more of the ledger; what was to be recorded is not."""


class VenueUnavailable(HedgeError):
    """The venue did not answer in a way that can be believed."""


class ShadowSlow(HedgeError):
    """Deciding for the candidate took longer than its budget."""


class StateWriteError(HedgeError):
    """A state file could not be written; the previous one stands."""


class SyncError(HedgeError):
    """The mirror could not be read or written this time.

    `conflict`: something else is there than was thought. `invalid`: the server does not take a
    value. `refused`: not allowed, or over quota. `unreachable`: no answer, or none in time.
    """

    def __init__(self, text: str, kind: Kind) -> None:
        super().__init__(text)
        self.kind = kind
