"""PROCESS: spreads pieces of a recomputation over the workers of a Dask cluster. Needs the extra `cluster`.

* Started by `rootdx recompute --cluster`: one JSON object on standard input, on standard output a JSON line for each
  piece done. It is a process of its own so that nothing else of rootdx imports Dask.
* Whoever reaches a scheduler runs code on its workers. So who is let in shows a certificate of the authority that
  `papers` holds (ca.pem, compute.pem, compute.key), which is one of its own: not that of gateways and browsers.
* Each task opens its own connection, with the worker's own ROOTDX_STORE_DSN where it has one, else its own file of the
  same name: secrets do not travel. The machines travel with the task; workers need rootdx installed, no plant folder.
* A task that fails is tried again, twice; what it writes, it writes in one transaction.
"""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any, Final

from distributed import Client, Security, as_completed

from analytics.machines import Watched, load_machines
from analytics.watch import watching
from pipeline.plant import Plant
from pipeline.settings import AnalyticsSettings, StoreSettings
from rootdx.recompute import PAPERS
from rootdx.texts import say

RETRIES: Final = 2


def work(
    store: StoreSettings, settings: AnalyticsSettings, plant: Plant, machine: Watched, span_ns: tuple[int, int]
) -> None:
    """One piece, on a worker."""

    async def own() -> None:
        async with watching(store, settings, plant, [machine], shared=True) as watch:
            await watch.own(machine.asset, *span_ns)

    asyncio.run(own())


def run(order: dict[str, Any], client: Client) -> None:
    """All pieces, each told once it is done."""
    store = StoreSettings.model_validate(order["store"])
    settings = AnalyticsSettings.model_validate(order["analytics"])
    plant, machines = load_machines(Path(order["plant"]))
    by_asset = {machine.asset: machine for machine in machines}
    futures = {
        client.submit(work, store, settings, plant, by_asset[asset], (first, last), pure=False, retries=RETRIES): number
        for number, (asset, first, last) in enumerate(order["pieces"])
    }
    for future in as_completed(list(futures)):  # type: ignore[no-untyped-call]  # Dask's own
        if future.status != "finished":
            asset, first, _ = order["pieces"][futures[future]]
            client.cancel(list(futures))  # type: ignore[no-untyped-call]
            tell({"failed": say("recompute.piece_failed", machine=asset, start=first, error=future.exception())})
            return
        tell({"done": futures[future]})


def security_of(papers: str | None) -> Security:
    """What is shown and asked for; None: nothing, on this computer."""
    if papers is None:
        return Security()  # type: ignore[no-untyped-call]
    ca, pair, key = (str(Path(papers) / name) for name in PAPERS)
    # Each may call and be called, so it has the same pair in all parts.
    return Security(  # type: ignore[no-untyped-call]
        require_encryption=True, tls_ca_file=ca, tls_client_cert=pair, tls_client_key=key, tls_scheduler_cert=pair,
        tls_scheduler_key=key, tls_worker_cert=pair, tls_worker_key=key,
    )  # fmt: skip


def tell(said: dict[str, Any]) -> None:
    """A line for the process that asked."""
    sys.stdout.write(json.dumps(said, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def main() -> None:
    """Reads the order and carries it out."""
    order = json.load(sys.stdin)
    try:
        client = Client(order["address"], security=security_of(order["papers"]))  # type: ignore[no-untyped-call]
    except (OSError, TimeoutError, ValueError) as error:
        tell({"failed": say("recompute.no_scheduler", address=order["address"], error=error)})
        return
    with client:
        run(order, client)
