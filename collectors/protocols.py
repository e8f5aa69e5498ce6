"""Every protocol a machine file may name: the whole registration.

To add one, write its module and add it to the union; the type checker and the file reader know it from then on.
"""

from typing import Annotated

from pydantic import Field

from collectors.files import Files
from collectors.modbus import Modbus
from collectors.mqtt import Mqtt
from collectors.opcua import OpcUa
from pipeline.plant import Machine

AnySource = Annotated[Modbus | OpcUa | Mqtt | Files, Field(discriminator="protocol")]
"""The settings of one device, told apart by their `protocol`."""

MachineFile = Machine[AnySource]
"""One machine file as it is read."""
