"""Who may say and hear what on the bus, as NATS and Mosquitto want it written; made from the names of certificates.

* A gateway: its own records, its own announcements.
* The writer of a plant, `writer`: records of all, announcements to all. One with a list of gateways: theirs alone.
* `notify`: alarms. `prometheus` has no business on the bus: its certificate is for the metrics.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Final

from pipeline.topics import ALL_RECORDS, alarm_topic, committed_topic, record_topic

WRITER: Final = "writer"
NOTIFY: Final = "notify"
PROMETHEUS: Final = "prometheus"
Reads = Mapping[str, Sequence[str]]
"""The gateways of each writer that has a list."""


def nats_users(names: Sequence[str], reads: Reads | None = None) -> str:
    """What every client may do on a NATS broker, as its configuration includes it.

    Args:
        names: of all clients.
        reads: of writers for some gateways.
    """
    lines = [_user(name, (reads or {}).get(name)) for name in sorted(names) if name != PROMETHEUS]
    return "# Written by `rootdx certs`: who may do what on the bus.\nusers = [\n" + "".join(lines) + "]\n"


def _user(name: str, gateways: Sequence[str] | None) -> str:
    says, hears = _rights(name, gateways)
    heard = f"allow: {_subjects(hears)}" if hears else 'deny: ">"'
    permissions = f"publish: {{ allow: {_subjects(says)} }}, subscribe: {{ {heard} }}"
    return f'  {{ user: "CN={name}", allowed_connection_types: ["MQTT"], permissions: {{ {permissions} }} }}\n'


def _rights(name: str, gateways: Sequence[str] | None) -> tuple[list[str], list[str]]:
    """Topics it may say and hear."""
    if gateways is not None:
        return [committed_topic(one) for one in gateways], [record_topic(one) for one in gateways]
    if name == WRITER:
        return [committed_topic("+")], [ALL_RECORDS]
    if name == NOTIFY:
        return [alarm_topic("#")], []
    return [record_topic(name)], [committed_topic(name)]


def _subjects(topics: Sequence[str]) -> str:
    """Topics or filters as NATS spells them."""
    spelled = [topic.replace("/", ".").replace("+", "*").replace("#", ">") for topic in topics]
    return json.dumps(spelled[0] if len(spelled) == 1 else spelled)


def mosquitto_acl(names: Sequence[str], reads: Reads | None = None) -> str:
    """The same for Mosquitto; gateways need no line of their own, a pattern knows them by their names."""
    parts = [
        "# Who may do what on the bus; a user is the CN of its certificate. pipeline/topics.py draws the topics.\n"
    ]
    some = reads or {}
    for name in [*(one for one in (WRITER, NOTIFY) if one in names and one not in some), *sorted(some)]:
        says, hears = _rights(name, some.get(name))
        lines = [*(f"topic read {topic}" for topic in hears), *(f"topic write {topic}" for topic in says)]
        parts.append(f"user {name}\n" + "".join(f"{line}\n" for line in lines) + "\n")
    parts.append(
        "# Every gateway: its own records, its own announcements.\n"
        f"pattern write {record_topic('%u')}\npattern read {committed_topic('%u')}\n"
    )
    return "".join(parts)
