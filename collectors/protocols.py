"""Every protocol a machine file may name: the whole registration.

To add one, write its module and add it to the union; the type checker and the file reader know it from then on.
"""

from typing import Annotated, Any

from pydantic import Field, model_validator

from collectors.deadband import filtered
from collectors.files import Files
from collectors.modbus import Modbus
from collectors.mqtt import Mqtt
from collectors.opcua import OpcUa
from collectors.profiles import filled
from collectors.sparkplug import Sparkplug
from pipeline.plant import Machine

AnySource = Annotated[Modbus | OpcUa | Mqtt | Sparkplug | Files, Field(discriminator="protocol")]
"""The settings of one device, told apart by their `protocol`."""


class MachineFile(Machine[AnySource]):
    """One machine file as it is read; what it leaves out, the profile of its device gives."""

    @model_validator(mode="before")
    @classmethod
    def _fill(cls, said: Any) -> Any:
        return filled(said)

    @model_validator(mode="after")
    def _check_deadbands(self) -> "MachineFile":
        unbanded = self.source.unbanded(self.tag)
        for tag in self.tag:
            if tag.deadband is not None and tag.name in unbanded:
                raise ValueError(
                    f"tag {tag.name!r}: what is a text, or is read once a cycle, has no deadband: every one counts"
                )
            if tag.heartbeat_s is not None and not filtered(self.source, (tag,), self.detector):
                raise ValueError(
                    f"tag {tag.name!r}: it has no limits, so its server keeps back what is no news, and knows no "
                    "heartbeat_s; give it a range, or remove heartbeat_s"
                )
        return self
