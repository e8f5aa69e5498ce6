"""Alert rules: what somebody has to go and see to, each with what to do.

* No rule waits for a series to vanish. A query of the store has a row a machine, always; a query of Prometheus ends in
  `or vector(…)`, and what nobody measures is a rule of its own.
* Machine off, link down and sensor bad are three rules over one state, so that never two of them ring for one cause.
* No `$` stands in a query: Grafana takes it for a variable of the environment when it reads the file.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from grafana_foundation_sdk.builders import expr, prometheus
from grafana_foundation_sdk.cog.variants import Dataquery
from grafana_foundation_sdk.models.alerting import Query, RelativeTimeRange, Rule as GrafanaRule

from rootdx.grafana.model import said
from rootdx.grafana.panels import METRICS, STORE, StoreQuery
from rootdx.grafana.queries import machine_states

FOLDER: Final = "rootdx"
GROUP: Final = "rootdx"
_BACK_S: Final = 600


@dataclass(frozen=True, slots=True)
class Rule:
    """One thing to be told of; its title is `grafana.rule.<name>`, what to do `grafana.advice.<name>`.

    Attributes:
        sql: gives columns for labels and one number, or
        metrics: PromQL.
        beyond: fires above it, or, with `below`, under it.
        lasting: how long before it fires.
    """

    name: str
    severity: Literal["info", "warning", "critical"]
    lasting: str
    sql: str = ""
    metrics: str = ""
    beyond: float = 0.5
    below: bool = False


def _in_state(state: str) -> str:
    return f"""
WITH {machine_states("now()")}
SELECT asset AS machine, (state = '{state}')::int AS value FROM machine_state ORDER BY asset"""


RULES: Final[tuple[Rule, ...]] = (
    Rule("machine_off", "info", "10m", _in_state("off")),
    Rule("link_down", "critical", "5m", _in_state("link_down")),
    Rule("sensor_bad", "warning", "10m", _in_state("sensor_bad")),
    Rule("analytics_behind", "warning", "10m", """
SELECT asset AS machine, coalesce(greatest(extract(epoch FROM now() - asked), extract(epoch FROM now() - since)), 0)
       ::float8 AS value FROM rootdx.backlog ORDER BY asset""", beyond=900),
    Rule("alarm_flood", "warning", "0s", """
SELECT count(*) AS value FROM rootdx.alarm_entries
WHERE told AND ts > now() - INTERVAL '10 minutes' AND ts <= now()""", beyond=10),
    Rule("spool_filling", "critical", "5m", metrics="min(rootdx_spool_outage_hours_left) or vector(1e6)", beyond=12,
         below=True),
    Rule("gateway_unseen", "critical", "5m", metrics="count(rootdx_spool_records) or vector(0)", beyond=1, below=True),
    Rule("writer_lag", "warning", "5m", metrics="max(rootdx_lag_seconds) or vector(0)", beyond=300),
    Rule("writer_stopped", "critical", "5m", metrics="(time() - max(rootdx_last_commit_unixtime)) or vector(1e9)",
         beyond=300),
    Rule("rows_lost", "critical", "0s", metrics="sum(increase(rootdx_spool_dropped_rows_total[15m])) or vector(0)",
         beyond=0),
    Rule("rows_aside", "warning", "0s", metrics="sum(increase(rootdx_quarantined_total[15m])) or vector(0)", beyond=0),
    Rule("disk_full", "critical", "5m",
         metrics="min(rootdx_disk_free_bytes / rootdx_disk_size_bytes) or vector(1)",
         beyond=0.1, below=True),
    Rule("disk_unseen", "info", "1h", metrics='count(rootdx_disk_free_bytes{job="writer"} >= 0) or vector(0)', beyond=1,
         below=True),
    Rule("notices_failing", "critical", "0s", metrics="sum(increase(rootdx_notices_failed_total[15m])) or vector(0)",
         beyond=0),
)  # fmt: skip


def uid(name: str) -> str:
    """Of a rule; never changes."""
    return f"rootdx-{name.replace('_', '-')}"


def built(rule: Rule, languages: Sequence[str]) -> GrafanaRule:
    """A rule as Grafana keeps it, its words in these languages one beside the other."""
    title = " · ".join(said(language, "rule", rule.name) for language in languages)
    advice = " · ".join(said(language, "advice", rule.name) for language in languages)
    of_machine = "AS machine" in rule.sql
    steps = [_asked(rule)] if rule.sql else [_asked(rule), _step("B", _reduced())]
    return GrafanaRule(
        uid=uid(rule.name), title=title, condition="C", data=[*steps, _step("C", _threshold(rule))],
        for_val=rule.lasting, no_data_state="OK" if of_machine else "Alerting", exec_err_state="Error", org_id=1,
        rule_group=GROUP, folder_uid=FOLDER, is_paused=False,
        annotations={"summary": f"{{{{ $$labels.machine }}}}: {title}" if of_machine else title, "description": advice},
        labels={"severity": rule.severity, "origin": "rootdx"},
    )  # fmt: skip


def group(languages: Sequence[str]) -> dict[str, object]:
    """The file of the rules, as Grafana reads it at its start."""
    rules = []
    for one in RULES:
        data = built(one, languages).to_json()
        rules.append({key: data[key] for key in data if key not in ("orgID", "ruleGroup", "folderUID")})
    return {
        "apiVersion": 1,
        "groups": [{"orgId": 1, "name": GROUP, "folder": FOLDER, "interval": "1m", "rules": rules}],
    }


def _asked(rule: Rule) -> Query:
    span = RelativeTimeRange(from_val=_BACK_S, to=0)
    if rule.sql:
        return Query(str(STORE.uid), StoreQuery(rule.sql.strip(), "table"), "", "A", span)
    asked = prometheus.Dataquery().ref_id("A").datasource(METRICS).expr(rule.metrics).instant().build()
    return Query(str(METRICS.uid), asked, "", "A", span)


def _step(name: str, model: Dataquery) -> Query:
    return Query("__expr__", model, "", name, RelativeTimeRange(from_val=_BACK_S, to=0))


def _reduced() -> Dataquery:
    return expr.TypeReduce().ref_id("B").expression("A").reducer("last").build()


def _threshold(rule: Rule) -> Dataquery:
    how = expr.ExprTypeThresholdConditionsEvaluator()
    evaluator = how.params([rule.beyond]).type("lt" if rule.below else "gt")
    condition = expr.ExprTypeThresholdConditions().evaluator(evaluator)
    return expr.TypeThreshold().ref_id("C").expression("A" if rule.sql else "B").conditions([condition]).build()
