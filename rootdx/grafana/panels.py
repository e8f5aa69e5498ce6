"""Pages of `model` as Grafana's own models, in one language."""

from collections.abc import Callable, Sequence
from typing import Any, Final

from grafana_foundation_sdk.builders import (
    bargauge,
    common as commons,
    dashboard,
    prometheus,
    stat,
    statetimeline,
    table,
    timeseries,
    trend,
)
from grafana_foundation_sdk.cog import builder as cogbuilder, variants
from grafana_foundation_sdk.models import common
from grafana_foundation_sdk.models.dashboard import (
    Dashboard,
    DashboardLinkType,
    DataSourceRef,
    DataTransformerConfig,
    DynamicConfigValue,
    GridPos,
    MatcherConfig,
    VariableRefresh,
    VariableSort,
)

from rootdx.grafana.looks import HIDDEN, mapping, of_column
from rootdx.grafana.model import Page, Panel, Variable, keys_of, said, worded
from rootdx.texts import say_in

STORE: Final = DataSourceRef(type_val="postgres", uid="rootdx-store")
METRICS: Final = DataSourceRef(type_val="prometheus", uid="rootdx-metrics")
GRID: Final = 24
Builder = (
    table.Panel | timeseries.Panel | statetimeline.Panel | stat.Panel | trend.Panel | bargauge.Panel
)  # what builds a panel
_MAKERS: Final[dict[str, Callable[[], Builder]]] = {
    "table": table.Panel, "lines": timeseries.Panel, "bars": timeseries.Panel, "timeline": statetimeline.Panel,
    "stat": stat.Panel, "trend": trend.Panel, "gauges": bargauge.Panel,
}  # fmt: skip


class StoreQuery(variants.Dataquery):
    """A query of Grafana's PostgreSQL source; its form is not among the SDK's models."""

    def __init__(self, sql: str, form: str) -> None:
        self.sql, self.form = sql, form

    def to_json(self) -> dict[str, object]:
        """As Grafana stores it."""
        return {
            "refId": "A", "datasource": STORE.to_json(), "editorMode": "code", "format": self.form, "rawQuery": True,
            "rawSql": self.sql,
        }  # fmt: skip


class _Store(cogbuilder.Builder[variants.Dataquery]):
    def __init__(self, sql: str, form: str) -> None:
        self._query = StoreQuery(sql, form)

    def build(self) -> StoreQuery:
        return self._query


def uid(page: str, language: str) -> str:
    """Of a dashboard; never changes, for links and stars."""
    return f"rootdx-{language}-{page.replace('_', '-')}"


def built(page: Page, language: str) -> Dashboard:
    """A dashboard in a language."""
    made = (
        dashboard.Dashboard(said(language, "page", page.name))
        .uid(uid(page.name, language)).description(said(language, "answers", page.name))
        .tags(["rootdx", language]).timezone("browser").time(page.since, "now").refresh(page.refresh).readonly()
        .link(dashboard.DashboardLink(say_in(language, "grafana.word.dashboards"))
              .type(DashboardLinkType.DASHBOARDS).tags(["rootdx", language]).as_dropdown(as_dropdown=True)
              .keep_time(keep_time=True).include_vars(include_vars=True))
    )  # fmt: skip
    for one in page.variables:
        made = made.with_variable(_variable(one, language))
    number, top = 0, 0
    for row in page.rows:
        left = 0
        for panel in row:
            number += 1
            place = GridPos(h=panel.height, w=panel.width, x=left, y=top)
            made = made.with_panel(_panel(panel, language).id(number).grid_pos(place))
            left += panel.width
        if left > GRID:
            raise ValueError(f"{page.name}: a row of {left} columns")
        top += max(panel.height for panel in row)
    return made.build()


def _variable(one: Variable, language: str) -> dashboard.QueryVariable:
    refresh = VariableRefresh.ON_TIME_RANGE_CHANGED if one.by_range else VariableRefresh.ON_DASHBOARD_LOAD
    return (
        dashboard.QueryVariable(one.name).label(said(language, "variable", one.name))
        .datasource(STORE).query(one.sql.strip()).refresh(refresh).sort(VariableSort.DISABLED)
        .multi(one.many).include_all(one.many)
    )  # fmt: skip


def _panel(panel: Panel, language: str) -> Builder:
    made = _MAKERS[panel.kind]().title(said(language, "panel", panel.name))
    made = made.datasource(METRICS if panel.metrics else STORE).no_value(say_in(language, "grafana.word.nothing"))
    if panel.unit:
        made = made.unit(panel.unit)
    for place, (expression, legend) in enumerate(panel.metrics):
        made = made.with_target(_asked(panel, language, place, expression, legend))
    if panel.sql:
        _styled(made, panel, language)
        series = panel.kind in ("lines", "bars") or (panel.kind == "timeline" and not panel.split)
        sql = worded(panel.sql, language).strip()
        made = made.with_target(_Store(sql, "time_series" if series else "table"))
        if panel.kind in ("lines", "bars", "timeline"):
            made = made.interval("1s")
    return _drawn(made, panel, language)


def _asked(panel: Panel, language: str, place: int, expression: str, legend: str) -> prometheus.Dataquery:
    made = (
        prometheus.Dataquery().ref_id(chr(ord("A") + place)).datasource(METRICS).expr(expression)
        .legend_format(worded(legend, language))
    )  # fmt: skip
    return made.instant() if panel.kind == "stat" else made.range()


def _styled(made: Builder, panel: Panel, language: str) -> None:
    keys = keys_of(panel.sql)
    if panel.kind == "timeline" and not panel.split:
        meaning = mapping(keys[-1], language)
        if meaning is not None:
            made.mappings([meaning])
        return
    for key in keys:
        text = say_in(language, key)
        values: Sequence[DynamicConfigValue] = of_column(key, language, panel.kind)
        if key in HIDDEN:
            values = [DynamicConfigValue("custom.hidden", value=True)]
        if panel.name == "tiles" and key == "column.machine":
            field = f"${{__data.fields[{say_in(language, HIDDEN[0])!r}]}}".replace("'", '"')
            url = f"/d/{uid('explorer', language)}?var-machine={field}&${{__url_time_range}}"
            link: dict[str, Any] = {"title": say_in(language, "grafana.page.explorer"), "url": url}
            values = [*values, DynamicConfigValue("links", [link])]
        if values and panel.kind in ("lines", "bars", "trend"):  # the name of the series may stand beside it
            made.with_override(MatcherConfig(id_val="byRegexp", options=f"/(^|\\s){text}($|\\s)/"), list(values))
        elif values:
            made.override_by_name(text, list(values))


def _drawn(made: Builder, panel: Panel, language: str) -> Builder:
    """What only one kind of panel has."""
    match made:
        case timeseries.Panel() if panel.kind == "bars":
            made.draw_style(common.GraphDrawStyle.BARS).fill_opacity(80).legend(_legend())
            made.stacking(commons.StackingConfig().mode(common.StackingMode.NORMAL).group("A"))
        case timeseries.Panel():
            made.show_points(common.VisibilityMode.AUTO).span_nulls(span_nulls=False).line_width(2).legend(_legend())
            made.tooltip(commons.VizTooltipOptions().mode(common.TooltipDisplayMode.MULTI).sort(common.SortOrder.NONE))
        case trend.Panel():
            made.x_field(say_in(language, panel.x)).line_width(2).legend(_legend()).span_nulls(span_nulls=True)
        case statetimeline.Panel() if panel.split:
            made.merge_values(merge_values=True).show_value(common.VisibilityMode.AUTO).row_height(0.9)
            made.fill_opacity(70).line_width(0)
            made.with_transformation(DataTransformerConfig("partitionByValues", options={"fields": [panel.split]}))
        case statetimeline.Panel():
            made.merge_values(merge_values=True).show_value(common.VisibilityMode.NEVER).row_height(0.8)
            made.fill_opacity(70).line_width(0)
        case bargauge.Panel():
            made.min(0).max(1).orientation(common.VizOrientation.HORIZONTAL)
            made.reduce_options(commons.ReduceDataOptions().values(values=True).calcs(["lastNotNull"]))
        case stat.Panel():
            made.graph_mode(common.BigValueGraphMode.NONE).reduce_options(
                commons.ReduceDataOptions().calcs(["lastNotNull"]).fields("" if panel.metrics else "/.*/")
            )
        case table.Panel():
            made.cell_height(common.TableCellHeight.SM)
    return made


def _legend() -> commons.VizLegendOptions:
    return (
        commons.VizLegendOptions().show_legend(show_legend=True).display_mode(common.LegendDisplayMode.LIST)
        .placement(common.LegendPlacement.BOTTOM).calcs([])
    )  # fmt: skip
