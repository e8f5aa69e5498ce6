"""Alarms in the words of OPC UA Part 9."""

from analytics.alarm import Alarm


def part_9(alarm: Alarm) -> dict[str, bool | str]:
    """The state variables of OPC UA Part 9 (AlarmConditionType) that say the same.

    >>> part_9(Alarm(active=True, acked=False))["ActiveState"]
    True
    """
    return {
        "ActiveState": alarm.active,
        "AckedState": alarm.acked,
        "LatchedState": alarm.latched and not alarm.active,
        "SuppressedState": alarm.suppressed,
        "OutOfServiceState": alarm.out_of_service,
        "ShelvingState": "Unshelved" if alarm.shelved_until_ns is None else "TimedShelved",
        "Retain": alarm.active or not alarm.acked or alarm.latched,
    }
