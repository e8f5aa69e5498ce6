"""A machine behind OPC UA: one variable a signal, written when it has changed.

- The source timestamp is the instant the value was true; the truth names the same instant.
- Nothing is writable: a client's write gets BadUserAccessDenied (BadNotWritable on some stacks).
- A late tick is skipped, never queued.
"""

import asyncio
import math
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC
from typing import Any

from asyncua import ua
from asyncua.crypto.permission_rules import User, UserRole
from asyncua.server.server import Server
from asyncua.server.user_managers import UserManager
from asyncua.ua.status_codes import StatusCodes

from simulators.clock import SimClock
from simulators.errors import InputError
from simulators.faults import Faults
from simulators.signals import Machine, Signal
from simulators.truth import Truth

_TYPES = {
    "double": ua.VariantType.Double,
    "int32": ua.VariantType.Int32,
    "uint32": ua.VariantType.UInt32,
    "bool": ua.VariantType.Boolean,
}


class _Visitors(UserManager):
    """Everyone may look, nobody may touch."""

    def get_user(self, *_: Any, **__: Any) -> User:
        return User(role=UserRole.User)


@dataclass(frozen=True, slots=True)
class Written:
    """A value to write: what it is and whether the sensor is broken."""

    signal: Signal
    value: float
    bad: bool


class OpcuaDevice:
    """A machine, its faults and its truth as values that change."""

    def __init__(
        self, machine: Machine, signals: Sequence[Signal], faults: Faults, clock: SimClock, truth: Truth
    ) -> None:
        self.signals = tuple(signals)
        self._machine = machine
        self._faults = faults
        self._clock = clock
        self._truth = truth
        self._last: dict[str, tuple[float, bool]] = {}

    def changes(self) -> tuple[int, list[Written]]:
        """The source timestamp, ns, and every value that differs from the one before."""
        # OPC UA counts in 100 ns, Python's datetime in 1 us: the truth must name what the stamp can say.
        wall_ns = self._clock.wall() // 1000 * 1000
        t_s = self._clock.sim_s(wall_ns)
        values = self._machine.sample(t_s)
        written = []
        for signal in self.signals:
            if self._faults.silent(t_s, frozenset((signal.name,))):
                continue
            value = self._value(signal, t_s, values[signal.name])
            bad = self._faults.at("bad_status", t_s, signal.name) is not None
            # repr makes NaN equal to NaN.
            if repr(self._last.get(signal.name)) != repr((value, bad)):
                self._last[signal.name] = (value, bad)
                written.append(Written(signal, value, bad))
        return wall_ns + round(self._faults.size("clock_skew", t_s) * 1e9), written

    def left(self, stamp_ns: int, written: Sequence[Written]) -> None:
        """The values are in the server."""
        if written:
            self._truth.served(stamp_ns, {item.signal.name: item.value for item in written})

    def _value(self, signal: Signal, t_s: float, value: float) -> float:
        value = self._faults.disturbed(signal, t_s, value, lambda then_s: self._machine.sample(then_s)[signal.name])
        value = self._faults.size("sentinel", t_s, signal.name) or value
        return value if math.isnan(value) else round(value, signal.digits)


@asynccontextmanager
async def open_opcua(device: OpcuaDevice, namespace: str, host: str, port: int) -> AsyncIterator["OpcuaWriter"]:
    """Serve a device while entered; port 0 takes a free one."""
    server = Server(user_manager=_Visitors())
    await server.init()
    server.set_endpoint(f"opc.tcp://{host}:{port or _free_port(host)}")
    server.set_server_name("rootdx simulator")
    server.set_security_policy([ua.SecurityPolicyType.NoSecurity])
    server.set_identity_tokens([ua.AnonymousIdentityToken])
    index = await server.register_namespace(namespace)
    folder = await server.nodes.objects.add_object(_node_id("machine", index), ua.QualifiedName("machine", index))
    writer = OpcuaWriter(server, device, {})
    for signal in device.signals:
        name = signal.address.partition(";s=")[2]
        initial = ua.Variant(False if signal.kind == "bool" else 0, _TYPES[signal.kind])
        if signal.kind == "double":
            initial = ua.Variant(0.0, ua.VariantType.Double)
        node = await folder.add_variable(_node_id(name, index), ua.QualifiedName(name, index), initial)
        writer.nodes[signal.name] = node.nodeid
    await writer.write()
    try:
        await server.start()
    except OSError as exc:
        raise InputError(f"{host}:{port}: cannot listen there ({exc.strerror}); give another port, or 0") from exc
    try:
        yield writer
    finally:
        await server.stop()


class OpcuaWriter:
    """Brings the device's changes into a running server."""

    def __init__(self, server: Server, device: OpcuaDevice, nodes: dict[str, ua.NodeId]) -> None:
        self._server = server
        self._device = device
        self.nodes = nodes

    @property
    def port(self) -> int:
        """The port clients connect to."""
        return int(self._server.endpoint.port or 0)

    async def write(self) -> None:
        """Write what has changed, once."""
        stamp_ns, written = self._device.changes()
        seconds, rest_ns = divmod(stamp_ns, 1_000_000_000)
        stamp = ua.DateTime.fromtimestamp(seconds, UTC).replace(microsecond=rest_ns // 1000)
        for item in written:
            kind = item.signal.kind
            value = item.value if kind == "double" else bool(item.value) if kind == "bool" else int(item.value)
            status = ua.StatusCode(ua.UInt32(StatusCodes.BadSensorFailure if item.bad else StatusCodes.Good))
            data = ua.DataValue(ua.Variant(value, _TYPES[kind]), status, SourceTimestamp=stamp)
            await self._server.write_attribute_value(self.nodes[item.signal.name], data)
        self._device.left(stamp_ns, written)

    async def run(self, every_s: float) -> None:
        """Write on every multiple of `every_s` since now, until cancelled."""
        loop = asyncio.get_running_loop()
        due_s = loop.time()
        while True:
            due_s += every_s * max(1, math.ceil((loop.time() - due_s) / every_s))
            await asyncio.sleep(due_s - loop.time())
            await self.write()


def _node_id(name: str, index: int) -> ua.NodeId:
    return ua.NodeId(ua.String(name), ua.Int16(index))


def _free_port(host: str) -> int:
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])
