"""Which nodes of an OPC UA server are monitored, how often and with what filter; see opcua.md.

* An address is a node id, for a tag optionally followed by the way into its value: ` element=2`, ` field=Spot.Force`.
* Sampling is the server's business, and so is the deadband of a tag without limits; one with limits is filtered here,
  because a server's filter knows nothing of them (see deadband.md).
* It is asked to look twice in a tag's interval: a server that looks by a timer just as often as the value changes is
  now and then a moment too late, and what it did not see in time it never reports.
"""

import re
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from asyncua import ua
from asyncua.ua.attribute_ids import AttributeIds
from asyncua.ua.object_ids import ObjectIds
from asyncua.ua.uaerrors import UaError

from collectors.deadband import band_of
from collectors.opcua_structures import Structures, within
from collectors.source import Refused
from pipeline.errors import ConfigError
from pipeline.plant import Tag

_NODE: Final = re.compile(r"(?:nsu=(?P<uri>[^;]+);|ns=(?P<index>\d+);)?(?P<id>[isgb]=.+)", re.DOTALL)
_STEP: Final = r"element=\d+(?:,\d+)*|field=\S+"
_PART: Final = re.compile(rf"(?P<node>.*?)(?P<steps>(?:\s+(?:{_STEP}))*)", re.DOTALL)
_RESTAMPED: Final = ua.DataChangeFilter(Trigger=ua.DataChangeTrigger.StatusValueTimestamp)
"""An array that is all zeros again is news too."""
HEARTBEAT: Final = ua.NodeId(ua.Int32(ObjectIds.Server_ServerStatus_CurrentTime))
"""A value that changes as long as the server samples at all."""


_LOOKS: Final = 2
_HELD_UP_S: Final = 5.0
"""A server or a network that stands still for so long loses nothing of what was seen."""
_LONGEST_QUEUE: Final = 1_000


Step = str | tuple[int, ...]
"""A field of a structure, as a path; or an element of an array, an index for each dimension."""


@dataclass(frozen=True, slots=True)
class Part:
    """What of a node's value a tag is.

    Attributes:
        node: its id.
        steps: the way into the value; empty: all of it.
    """

    node: str
    steps: tuple[Step, ...] = ()

    @property
    def is_of_structure(self) -> bool:
        """Whether the value is a structure."""
        return any(isinstance(step, str) for step in self.steps)

    def of(self, value: Any, dimensions: Sequence[int], structures: Structures) -> Any:
        """What is there; None where nothing is.

        Raises:
            BadData: a structure on the way that nobody can read.
        """
        for step in self.steps:
            value = within(value, step, structures) if isinstance(step, str) else _element(value, step, dimensions)
            dimensions = ()
        return value


def _element(value: Any, place: tuple[int, ...], dimensions: Sequence[int]) -> Any:
    try:
        if len(dimensions) == len(place) > 1 and not isinstance(value[0], list):  # row by row in one list
            if any(index >= size for index, size in zip(place, dimensions, strict=True)):
                return None
            return value[int(np.ravel_multi_index(place, tuple(dimensions)))]
        for index in place:
            value = value[index]
    except (IndexError, TypeError, KeyError):
        return None
    return value


def part_of(address: str) -> Part:
    """An address, read."""
    found = _PART.fullmatch(address)
    if found is None:
        return Part(address)
    return Part(found["node"], tuple(_step(*step.split("=", 1)) for step in re.findall(_STEP, found["steps"])))


def _step(kind: str, where: str) -> Step:
    return where if kind == "field" else tuple(int(index) for index in where.split(","))


def check_node(what: str, address: str) -> None:
    """Refuses what is no node id.

    Raises:
        ValueError: with examples.
    """
    found = _NODE.fullmatch(address)
    try:
        ua.NodeId.from_string(found["id"] if found else "")
    except (UaError, ValueError) as error:
        raise ValueError(
            f"{what}: address {address!r} is no node id, e.g. nsu=urn:maker:press;s=Oil.Temp or ns=2;i=1001"
        ) from error


def needs_namespaces(addresses: Iterable[str]) -> bool:
    """Whether one of them names its namespace by its URI."""
    return any(address.startswith("nsu=") for address in addresses)


def node_id(label: str, address: str, uris: Sequence[str], url: str) -> ua.NodeId:
    """The id by which the server knows a node.

    Args:
        label: for people.
        address: node id.
        uris: the server's namespaces.
        url: of the server, for people.

    Raises:
        Refused: the server does not know the namespace; it may still be starting.
    """
    match = _NODE.fullmatch(address)
    if match is None:
        raise ConfigError(f"tag {label!r}: address {address!r} is no node id")
    if match["uri"] and match["uri"] not in uris:
        raise Refused(f"tag {label!r}: {url} knows no namespace {match['uri']!r}; it has {', '.join(uris)}")
    index = uris.index(match["uri"]) if match["uri"] else int(match["index"] or 0)
    return ua.NodeId.from_string(f"ns={index};{match['id']}")


def sampling_of(every_s: float) -> float:
    """Seconds between two looks of the server at a value that changes every `every_s`."""
    return every_s / _LOOKS


def request(
    handle: int, node: ua.NodeId, sampling_s: float, queue: int, how: Any = None
) -> ua.MonitoredItemCreateRequest:
    """Asks for the changes of one value."""
    return ua.MonitoredItemCreateRequest(
        ItemToMonitor=ua.ReadValueId(NodeId=node, AttributeId=AttributeIds.Value),
        MonitoringMode=ua.MonitoringMode.Reporting,
        RequestedParameters=ua.MonitoringParameters(
            ClientHandle=ua.IntegerId(handle),
            SamplingInterval=sampling_s * 1000,
            QueueSize=ua.Counter(queue),
            DiscardOldest=True,
            Filter=how,
        ),
    )


def queue_of(every_s: float, publishing_s: float) -> int:
    """Values that the server keeps of a node until it is asked: what it sees in several publishes, and ten."""
    looks = max(2 * publishing_s, _HELD_UP_S) / sampling_of(every_s)
    return 10 + min(_LONGEST_QUEUE, round(looks))


def asked_of(tag: Tag, filtered: Container[str]) -> float:
    """The deadband that the server is asked for, in its numbers; 0: none, or it is `filtered` here."""
    if tag.deadband is None or tag.name in filtered:
        return 0.0
    of_current = 1.0 if tag.loop is None else 16.0 / abs(tag.loop[1] - tag.loop[0])
    return band_of(tag) * of_current / abs(tag.scale)


def filter_of(tag: Tag | None, filtered: Container[str] = ()) -> ua.DataChangeFilter | None:
    """What of a tag's changes the server keeps back; of a burst (None) it reports every stamp."""
    if tag is None:
        return _RESTAMPED
    band = asked_of(tag, filtered)
    if not band:
        return None
    return ua.DataChangeFilter(
        Trigger=ua.DataChangeTrigger.StatusValue,
        DeadbandType=ua.UInt32(ua.DeadbandType.Absolute),
        DeadbandValue=band,
    )
