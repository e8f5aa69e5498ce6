"""Alarms and events of an OPC UA server become events of the machine; see opcua.md.

* A condition that becomes active is RAISED, one that ceases CLEARED with the same onset; what else it says of itself
  meanwhile (acknowledged, commented) is not told.
* Everything else is a NOTE. Nothing is acknowledged: that is the operator's.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from asyncua import ua
from asyncua.ua.attribute_ids import AttributeIds
from asyncua.ua.object_ids import ObjectIds

from collectors.device_clock import DeviceClock
from collectors.opcua_values import stamp_of
from collectors.texts import clean
from pipeline import metrics
from pipeline.model import Event, Phase, Severity

_QUEUE: Final = 1_000
_MOST: Final = 2_000
"""Conditions remembered as active; of more the oldest is forgotten."""
_BASE, _CONDITION, _ALARM = (ObjectIds.BaseEventType, ObjectIds.ConditionType, ObjectIds.AlarmConditionType)
_FIELDS: Final = (
    (_BASE, ("EventType",)),
    (_BASE, ("EventId",)),
    (_BASE, ("SourceName",)),
    (_BASE, ("Time",)),
    (_BASE, ("Message",)),
    (_BASE, ("Severity",)),
    (_CONDITION, ("ConditionName",)),
    (_ALARM, ("ActiveState", "Id")),
)
_OVERFLOW: Final = ua.NodeId(ua.Int32(ObjectIds.EventQueueOverflowEventType))
_BANDS: Final = ((800, Severity.CRITICAL), (600, Severity.ERROR), (300, Severity.WARNING))


def request(handle: int, notifier: ua.NodeId) -> ua.MonitoredItemCreateRequest:
    """Asks for the events of a node."""
    clauses = [
        ua.SimpleAttributeOperand(
            TypeDefinitionId=ua.NodeId(ua.Int32(kind)),
            BrowsePath=[ua.QualifiedName(name, ua.UInt16(0)) for name in path],
            AttributeId=AttributeIds.Value,
        )
        for kind, path in _FIELDS
    ]
    return ua.MonitoredItemCreateRequest(
        ItemToMonitor=ua.ReadValueId(NodeId=notifier, AttributeId=AttributeIds.EventNotifier),
        MonitoringMode=ua.MonitoringMode.Reporting,
        RequestedParameters=ua.MonitoringParameters(
            ClientHandle=ua.IntegerId(handle),
            SamplingInterval=0.0,
            QueueSize=ua.Counter(_QUEUE),
            DiscardOldest=True,
            Filter=ua.EventFilter(SelectClauses=clauses),
        ),
    )


@dataclass(frozen=True, slots=True)
class Said:
    """A notification and when it came."""

    fields: tuple[Any, ...]
    now_ns: int


class Alarms:
    """Which conditions are active: `active` holds their onsets, int nanoseconds UTC, and is kept by who asks."""

    def __init__(self, asset: str, active: dict[str, int], device: DeviceClock) -> None:
        self._asset, self.active, self._device = asset, active, device

    def said(self, fields: Sequence[Any], now_ns: int) -> Event | None:
        """The event of a notification; None where it says nothing new."""
        values = [getattr(one, "Value", None) for one in fields] + [None] * len(_FIELDS)
        kind, number, source, stamp, message, severity, condition, is_active = values[: len(_FIELDS)]
        if kind == _OVERFLOW:
            metrics.bad_data.labels(self._asset, "event_queue_overflow").inc()
            return None
        stamped = stamp if isinstance(stamp, datetime) else None
        own_ns = stamp_of(ua.DataValue(SourceTimestamp=stamped))  # type: ignore[arg-type]
        ts_ns = own_ns if own_ns is not None and self._device.believed(own_ns, now_ns, kept=True) else now_ns
        text = clean(str(getattr(message, "Text", message) or ""))
        rank = int(severity or 0)
        data = {"source": clean(str(source or "")), "severity": rank}
        how = next((band for least, band in _BANDS if rank >= least), Severity.INFO)
        if not isinstance(is_active, bool):
            key = number.hex() if isinstance(number, bytes) else ""
            return Event(self._asset, "device.event", ts_ns, text, severity=how, key=key, data=data)
        name = clean(str(condition or "")) or text
        key = f"{data['source']}/{name}"
        if is_active == (key in self.active):
            return None
        data |= {"condition": name}
        if is_active:
            if len(self.active) >= _MOST:
                self.active.pop(next(iter(self.active)))
            self.active[key] = ts_ns
            return Event(self._asset, "device.alarm", ts_ns, text, Phase.RAISED, how, key, ts_ns, data)
        onset = self.active.pop(key)
        return Event(self._asset, "device.alarm", ts_ns, text, Phase.CLEARED, how, key, onset, data)
