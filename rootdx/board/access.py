"""Who may do what on the board.

An auditor sees everything and changes nothing. Nobody removes anything, nobody writes to a machine: there is no such
permission.
"""

from dataclasses import dataclass
from typing import Final, Literal, get_args

Role = Literal["operator", "engineer", "auditor", "admin"]
Permission = Literal[
    "acknowledge",  # alarms: acknowledge, reset
    "shelve",  # alarms: set aside for a time, end that
    "enter",  # stops, quantities, laboratory results, context and the like
    "seal",  # make compliance records
    "service",  # alarms: take out of service, put back
    "probe",  # read a machine once, now
    "journal",  # see who did what
    "accounts",  # who may sign in
]
ROLES: Final[tuple[Role, ...]] = get_args(Role)
MAY: Final[dict[Role, frozenset[Permission]]] = {
    "operator": frozenset({"acknowledge", "shelve", "enter"}),
    "engineer": frozenset({"acknowledge", "shelve", "enter", "seal", "service", "probe"}),
    "auditor": frozenset({"journal"}),
    "admin": frozenset(get_args(Permission)),
}


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody at the board.

    Attributes:
        name: as the journal writes it.
        role: what they may do.
        address: of the browser.
    """

    name: str
    role: Role
    address: str

    def may(self, wanted: Permission) -> bool:
        """Whether they may.

        >>> Person("kim", "operator", "10.0.0.7").may("seal")
        False
        """
        return wanted in MAY[self.role]


class Refused(Exception):
    """What a person may not do.

    Attributes:
        status: 401, 403, 409 or 429 of HTTP.
        kind: the same for programs.
        text: with the remedy.
        wait_s: when to try again.
    """

    def __init__(self, status: int, kind: str, text: str, wait_s: float = 0.0) -> None:
        super().__init__(text)
        self.status, self.kind, self.text, self.wait_s = status, kind, text, wait_s
