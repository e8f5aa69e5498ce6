"""Names to numbers in the database: assets and tags, made where they are new. Used inside a transaction of the store.

* What was looked up once is remembered; what a transaction that is rolled back has made must be forgotten.
* A machine's own description (`machine.declared`) is what names, roles and units come from.
"""

from typing import Any, Final

import numpy as np

from pipeline import bursts
from pipeline.copying import Ids
from pipeline.migrate import Connection
from pipeline.model import Event

DECLARED: Final = "machine.declared"
"""Kind of the event by which a gateway tells names, roles and units of a machine's tags."""


class Names:
    """The numbers of assets and tags."""

    def __init__(self, db: Connection) -> None:
        self._db = db
        self._tags: dict[tuple[str, tuple[str, ...]], Ids] = {}
        self._assets: dict[str, int] = {}

    def forget(self) -> None:
        """Everything: some of it may not be in the database any more."""
        self._tags.clear()
        self._assets.clear()

    async def tags(self, asset: str, tags: tuple[str, ...]) -> Ids:
        """(len(tags),) tag ids; tags never seen before are made."""
        found = self._tags.get((asset, tags))
        if found is None:
            asset_id = await self.asset(asset)
            by_name = await self._known(asset_id)
            new = [name for name in tags if name not in by_name]
            if new:
                await self._db.execute(_NEW_TAGS, [asset_id, new])
                by_name = await self._known(asset_id)
            found = np.array([by_name[name] for name in tags], np.int32)
            self._tags[asset, tags] = found
        return found

    async def _known(self, asset_id: int) -> dict[str, int]:
        rows: list[tuple[Any, ...]] = await (await self._db.execute(_TAGS, [asset_id])).fetchall()
        return {str(name): int(tag_id) for name, tag_id in rows}

    async def asset(self, path: str) -> int:
        """The id of an asset, made if it is new."""
        known = self._assets.get(path)
        if known is not None:
            return known
        row = await (await self._db.execute(_ASSET, [path])).fetchone()
        if row is None:  # looked up first: an insert that finds its conflict burns an id
            await self._db.execute(_NEW_ASSET, [path])
            row = await (await self._db.execute(_ASSET, [path])).fetchone()
        assert row is not None  # noqa: S101  # it was there, or has been made in this transaction
        self._assets[path] = int(row[0])
        return self._assets[path]

    async def declare(self, event: Event) -> None:
        """Takes names, roles and units of a machine's tags from what its gateway says of it."""
        tags = event.data.get("tags", ())
        asset_id = await self.asset(event.asset)
        await self._db.execute(_DESCRIBE, (event.data.get("name", ""), event.data.get("process", ""), asset_id))
        async with self._db.cursor() as cursor:
            await cursor.executemany(_DECLARE_TAG, [{**_NOTHING, **tag, "asset_id": asset_id} for tag in tags])
        await bursts.declare(self._db, asset_id, event.data.get("waveforms", ()))


_ASSET: Final = "SELECT asset_id FROM rootdx.asset WHERE path = %s"
_NEW_ASSET: Final = "INSERT INTO rootdx.asset (path) VALUES (%s) ON CONFLICT DO NOTHING"
_DESCRIBE: Final = "UPDATE rootdx.asset SET name = %s, process = %s WHERE asset_id = %s"
_TAGS: Final = "SELECT name, tag_id FROM rootdx.tag WHERE asset_id = %s"
_NEW_TAGS: Final = (
    "INSERT INTO rootdx.tag (asset_id, name) SELECT %s, unnest(%s::text[]) ON CONFLICT (asset_id, name) DO NOTHING"
)
_NOTHING: Final = {"role": "", "unit": "", "low": None, "high": None, "every_s": None, "text": ""}
_DECLARE_TAG: Final = """
    INSERT INTO rootdx.tag (asset_id, name, role, unit, low, high, every_s, text)
    VALUES (%(asset_id)s, %(name)s, %(role)s, %(unit)s, %(low)s, %(high)s, %(every_s)s, %(text)s)
    ON CONFLICT (asset_id, name) DO UPDATE SET (role, unit, low, high, every_s, text)
        = (EXCLUDED.role, EXCLUDED.unit, EXCLUDED.low, EXCLUDED.high, EXCLUDED.every_s, EXCLUDED.text)"""
