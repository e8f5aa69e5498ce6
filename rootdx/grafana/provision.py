"""PROGRAM: writes the folder that a Grafana is pointed at. Needs the extra `grafana`.

* `python -m rootdx.grafana.provision FOLDER LANGUAGE …`, started by `rootdx grafana`: a process of its own, so that
  nothing else of rootdx imports Grafana's SDK.
* The same code writes the same bytes. Dashboards of languages not asked for are left as they are.
"""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from rootdx.grafana import panels, rules
from rootdx.grafana.dashboards import PAGES
from rootdx.grafana.yaml_text import dumped
from rootdx.texts import say_in

PASSWORD_FILE: Final = "/etc/rootdx/secrets/rootdx_reader.password"  # noqa: S105  # where it is, not what
SOURCES: Final[Mapping[str, object]] = {
    "apiVersion": 1,
    "datasources": [
        {
            "name": "rootdx store", "uid": panels.STORE.uid, "type": panels.STORE.type_val, "access": "proxy",
            "url": "${ROOTDX_STORE_ADDRESS}", "user": "rootdx_reader", "database": "${ROOTDX_STORE_DATABASE}",
            "isDefault": True, "editable": False,
            "jsonData": {
                "database": "${ROOTDX_STORE_DATABASE}", "sslmode": "${ROOTDX_STORE_SSLMODE}",
                "tlsConfigurationMethod": "file-path", "sslRootCertFile": "${ROOTDX_STORE_CA}",
                "maxOpenConns": 10, "maxIdleConns": 2, "connMaxLifetime": 14400, "postgresVersion": 1500,
                "timescaledb": False,
            },
            # Read from the file: an environment is seen by whoever looks at the container, and by every child.
            "secureJsonData": {"password": "$__file{" + PASSWORD_FILE + "}"},
        },
        {
            "name": "rootdx metrics", "uid": panels.METRICS.uid, "type": panels.METRICS.type_val, "access": "proxy",
            "url": "${ROOTDX_PROMETHEUS_URL}", "isDefault": False, "editable": False,
            "jsonData": {"httpMethod": "POST", "timeInterval": "15s"},
        },
    ],
}  # fmt: skip
HEAD: Final = "# Written by `rootdx grafana`; change the code, not this file.\n"


def files(languages: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Path in the folder, and text."""
    yield "provisioning/datasources/rootdx.yaml", HEAD + dumped(SOURCES)
    yield "provisioning/dashboards/rootdx.yaml", HEAD + dumped(_providers(languages))
    yield "provisioning/alerting/rootdx.yaml", HEAD + dumped(_plain(rules.group(languages)))
    for language in languages:
        for page in PAGES:
            yield f"dashboards/{language}/{page.name}.json", dashboard_text(panels.built(page, language))


def dashboard_text(dashboard: object) -> str:
    """A dashboard as Grafana reads it."""
    return json.dumps(dashboard, cls=JSONEncoder, ensure_ascii=False, indent=1, sort_keys=True) + "\n"


def _plain(data: object) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(json.dumps(data, cls=JSONEncoder))
    return found


def _providers(languages: Sequence[str]) -> dict[str, object]:
    return {
        "apiVersion": 1,
        "providers": [
            {
                "name": f"rootdx-{language}", "orgId": 1, "folder": say_in(language, "grafana.word.folder"),
                "folderUid": f"rootdx-{language}", "type": "file", "disableDeletion": False, "allowUiUpdates": False,
                "updateIntervalSeconds": 60,
                "options": {"path": "${ROOTDX_GRAFANA_FOLDER}/dashboards/" + language},
            }
            for language in languages
        ],
    }  # fmt: skip


def write(folder: Path, languages: Sequence[str]) -> int:
    """Writes all files; returns how many."""
    count = 0
    for path, text in files(languages):
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8", newline="\n")
        count += 1
    return count


if __name__ == "__main__":
    sys.stdout.write(f"{write(Path(sys.argv[1]), sys.argv[2:])}\n")
