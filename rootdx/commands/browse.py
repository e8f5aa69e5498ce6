"""`rootdx browse`: what an OPC UA server has, and a first machine file for it."""

from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import tomli_w
import typer
from pydantic import ValidationError
from rich.console import Console
from rich.table import Table

from collectors.opcua import OpcUa, as_unavailable, connected
from collectors.opcua_browse import Found, browse as browse_server, names
from collectors.opcua_security import Policy
from collectors.protocols import MachineFile
from pipeline import service
from pipeline.errors import ConfigError
from pipeline.faults import explain
from pipeline.plant import ProcessName
from rootdx.invocation import run
from rootdx.texts import say


def browse(
    url: Annotated[str, typer.Argument(help="opc.tcp://host:port/path")],
    file: Annotated[Path | None, typer.Option("--write", help="Machine file to write, a new one.")] = None,
    *,
    path: Annotated[str, typer.Option(help="Of the machine: area/line/cell.")] = "area1/line1/machine1",
    process: Annotated[
        Literal["casting", "heat_treatment", "welding", "surface_treatment", "forging", "molding"], typer.Option()
    ] = get_args(ProcessName)[0],
    policy: Annotated[Policy, typer.Option(help="Of the messages.")] = "None",
    mode: Annotated[Literal["Sign", "SignAndEncrypt"], typer.Option()] = "SignAndEncrypt",
    user: Annotated[str | None, typer.Option(help="Without it: anonymous.")] = None,
    password_file: Annotated[Path | None, typer.Option(help="Its first line is the password.")] = None,
    pki: Annotated[Path | None, typer.Option(help="Folder of certificates; default: beside the file.")] = None,
    depth: Annotated[int, typer.Option(help="Levels below Objects.", min=1, max=20)] = 8,
    most: Annotated[int, typer.Option(help="Variables at most.", min=1, max=10_000)] = 1_000,
) -> None:
    """Shows the variables of an OPC UA server as tags, and writes them as a machine file to be trimmed."""
    if file is not None and file.exists():
        raise ConfigError(f"{file}: is there already; choose another name, or remove it")
    security: dict[str, Any] = {"policy": policy, "mode": mode, "user": user, "password_file": password_file}
    security["pki"] = pki or (file.parent if file else Path()) / "pki"
    try:
        source = OpcUa.model_validate({"url": url, "security": security})
    except ValidationError as error:
        raise ConfigError(explain(error, "browse")) from error
    found = run(_browsed(source, depth, most))
    _show(found)
    if file is not None:
        _write(file, {"path": path, "name": path.rpartition("/")[2], "process": process}, source, found)
        typer.echo(say("browse.written", file=file, count=len(found.variables)))


async def _browsed(source: OpcUa, depth: int, most: int) -> Found:
    async with connected(source, "rootdx-browse", "browse", service.wall_ns()) as client:
        with as_unavailable(source.url):
            return await browse_server(client, depth, most)


def _show(found: Found) -> None:
    table = Table()
    for column in ("live.tag", "live.value", "probe.unit", "browse.range", "browse.address"):
        table.add_column(say(column))
    for name, one in zip(names(found.variables), found.variables, strict=True):
        limits = f"{one.range[0]:g} … {one.range[1]:g}" if one.range else ""
        value = one.value if isinstance(one.value, str) else f"{one.value:g}"
        table.add_row(name, value, one.unit if one.unit != "1" else one.said_unit, limits, one.address)
    Console().print(table)
    if found.others:
        typer.echo(say("browse.others", count=found.others))
    if found.cut:
        typer.echo(say("browse.cut"))


def _write(file: Path, machine: dict[str, Any], source: OpcUa, found: Found) -> None:
    if not found.variables:
        raise ConfigError(f"{source.url}: no variable that could be a tag; give a user, or a greater depth")
    tags = []
    for name, one in zip(names(found.variables), found.variables, strict=True):
        tag: dict[str, Any] = {"name": name, "address": one.address, "unit": one.unit}
        if one.range:
            tag["range"] = list(one.range)
        unknown = f" [{one.said_unit}]" if one.said_unit and one.unit == "1" else ""
        tags.append(tag | {"text": one.text + unknown})
    said: dict[str, Any] = {"protocol": "opcua", "url": source.url}
    security = source.security
    if security.policy != "None" or security.user is not None:
        given = security.model_dump(exclude_defaults=True, mode="json") | {"policy": security.policy}
        for key in ("pki", "password_file"):
            where: Path | None = getattr(security, key)
            if where is not None:
                given[key] = _beside(file, where)
        said["security"] = given
    whole = machine | {"source": said, "tag": tags}
    try:
        MachineFile.model_validate(whole)
    except ValidationError as error:
        raise ConfigError(explain(error, str(file))) from error
    with file.open("xb") as out:
        tomli_w.dump(whole, out)


def _beside(file: Path, where: Path) -> str:
    """As the machine file names it: from its own folder where it lies below, else in full."""
    folder, where = file.parent.resolve(), where.resolve()
    return str(where.relative_to(folder) if where.is_relative_to(folder) else where)
