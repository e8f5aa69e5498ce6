// Every Table of the server: units in the head, sort, filter, pages, and the same rows as a file.
import { html, useMemo, useState } from "./view.js";
import { address } from "./api.js";
import { moment, number, percent, unit, whole } from "./format.js";
import { Icon } from "./icons.js";
import { Empty, Priority, Verdict } from "./parts.js";
import { href } from "./route.js";
import { inLanguage } from "./store.js";
import { language, named, t } from "./texts.js";

const PAGE_ROWS = 50;
const RIGHT = new Set(["number", "share", "whole"]);
// Words of the server carry a sign; the worse ones are coloured as well.
const SIGNS = { "✖": "worse", "▲": "doubtful" };
const LINKS = { machine: (value) => href("machine", value), record: (value) => href("records", value) };

function missing(cell) {
  return cell !== null && typeof cell === "object";
}

function sortable(cell) {
  return cell === null || cell === undefined || missing(cell) ? null : cell;
}

function ordered(rows, place, down) {
  if (place < 0) return rows;
  const compare = new Intl.Collator(language(), { numeric: true }).compare;
  return [...rows].sort((one, other) => {
    const [a, b] = [sortable(one[place]), sortable(other[place])];
    if (a === null || b === null) return (a === null) - (b === null);
    const order = typeof a === "number" && typeof b === "number" ? a - b : compare(String(a), String(b));
    return down ? -order : order;
  });
}

function cellText(cell, kind) {
  if (cell === null || cell === undefined) return "–";
  if (missing(cell)) return `– ${cell.text || named("reason", cell.missing)}`;
  if (kind === "share" && typeof cell === "number") return percent(cell);
  if (kind === "whole" && typeof cell === "number") return whole(cell);
  if (kind === "number" && typeof cell === "number") return number(cell);
  if (kind === "time") return moment(Date.parse(cell));
  if (kind === "flag") return cell ? t("board.yes") : t("board.no");
  return typeof cell === "boolean" ? (cell ? t("board.yes") : t("board.no")) : inLanguage(String(cell));
}

function Cell({ cell, column, links }) {
  if (missing(cell)) return html`<span class="why">${cellText(cell, column.kind)}</span>`;
  if (cell === null || cell === undefined || cell === "") return html`<span class="why">–</span>`;
  if (column.name === "verdict" && !/\s/.test(cell)) return html`<${Verdict} verdict=${cell} />`;
  if (column.name === "priority" && ["high", "medium", "low"].includes(cell)) return html`<${Priority} priority=${cell} />`;
  if (column.name === "quality" && ["good", "uncertain", "bad"].includes(cell)) return html`<span class=${`quality ${cell}`}>${named("quality", cell)}</span>`;
  if (column.name === "kind" || column.name === "subject_kind") return named("kind", cell);
  if (column.name === "unit") return unit(cell);
  if (column.name === "phase") return named("phase", cell);
  if (column.name === "feature") return named("feature", cell);
  const link = links && column.name in links ? links[column.name] : LINKS[column.name];
  if (typeof cell === "string" && cell[0] in SIGNS) return html`<span class=${`signed ${SIGNS[cell[0]]}`}>${cell}</span>`;
  const text = column.name === "id" ? String(cell) : column.name === "machine" ? String(cell).split("/").at(-1) : cellText(cell, column.kind);
  return link ? html`<a href=${link(cell)}>${text}</a>` : text;
}

function fileHref(source, format, only) {
  const url = new URL(source, location.href);
  url.searchParams.set("format", format);
  if (only) url.searchParams.set("only", only);
  return url.pathname + url.search;
}

export function Exports({ source, only }) {
  if (!source) return null;
  const from = address(source.path, source.query);
  return html`<div class="exports" role="group" aria-label=${t("board.table.export")}>
    <${Icon} name="download" size=${20} />
    ${["csv", "xlsx", "parquet"].map((format) => html`<a key=${format} class="file" download
      href=${fileHref(from, format, only)}>${t(`board.table.${format}`)}</a>`)}
  </div>`;
}

// source: {path, query} the table came from; only: its name where several came; links: hrefs by column; newest: first.
export function DataTable({ table, source, only, links, newest, title, actions, filter = true, level = 2 }) {
  const [sort, setSort] = useState({ place: -1, down: false });
  const [sought, seek] = useState("");
  const [page, turn] = useState(0);
  const { columns, rows, notes = [] } = table;
  const found = useMemo(() => {
    const given = newest ? rows.toReversed() : rows;
    const wanted = sought.trim().toLowerCase();
    const kept = !wanted ? given : given.filter((row) => row.some((cell, i) => cellText(cell, columns[i].kind).toLowerCase().includes(wanted)));
    return ordered(kept, sort.place, sort.down);
  }, [table, sort, sought]);
  const pages = Math.max(1, Math.ceil(found.length / PAGE_ROWS));
  const at = Math.min(page, pages - 1);
  const shown = found.slice(at * PAGE_ROWS, (at + 1) * PAGE_ROWS);
  const heading = title ?? table.title;
  const by = (place) => setSort((old) => ({ place, down: old.place === place ? !old.down : columns[place].kind !== "text" }));
  return html`<section class="table-block">
    <header class="panel-head">
      ${heading && (level === 2 ? html`<h2>${heading}</h2>` : html`<h3>${heading}</h3>`)}
      <div class="actions">
        ${filter && rows.length > 8 && html`<label class="seek"><span class="unseen">${t("board.table.filter")}</span><${Icon} name="search" size=${20} />
          <input type="search" placeholder=${t("board.table.filter")} value=${sought}
            onInput=${(event) => { seek(event.currentTarget.value); turn(0); }} /></label>`}
        ${actions}
        ${rows.length > 0 && html`<${Exports} source=${source} only=${only} />`}
      </div>
    </header>
    ${rows.length === 0 ? html`<${Empty} text=${notes[0]} />` : html`
    <div class="scroll" tabindex="0" role="region" aria-label=${heading || table.name}>
      <table>
        <thead><tr>${columns.map((one, i) => html`<th key=${one.name + i} scope="col" class=${RIGHT.has(one.kind) ? "right" : ""}
          aria-sort=${sort.place === i ? (sort.down ? "descending" : "ascending") : "none"}>
          <button class="sort" onClick=${() => by(i)}><span>${one.heading}${unit(one.unit) ? html` <small>${unit(one.unit)}</small>` : null}</span>
            ${sort.place === i && html`<${Icon} name=${sort.down ? "down" : "up"} size=${16} />`}</button></th>`)}</tr></thead>
        <tbody>${shown.map((row, r) => html`<tr key=${r}>${row.map((cell, i) => html`<td key=${i}
          class=${`${RIGHT.has(columns[i].kind) ? "right" : ""} ${columns[i].kind}`}>
          <${Cell} cell=${cell} column=${columns[i]} links=${links} /></td>`)}</tr>`)}</tbody>
      </table>
    </div>`}
    ${pages > 1 && html`<nav class="pager" aria-label=${t("board.table.pages")}>
      <button disabled=${at === 0} aria-label=${t("board.table.previous")} onClick=${() => turn(at - 1)}><${Icon} name="left" /></button>
      <span>${t("board.table.page", { page: at + 1, pages, rows: whole(found.length) })}</span>
      <button disabled=${at >= pages - 1} aria-label=${t("board.table.next")} onClick=${() => turn(at + 1)}><${Icon} name="right" /></button>
    </nav>`}
    ${sought && found.length === 0 && html`<${Empty} text=${t("board.table.no_match")} />`}
    ${rows.length > 0 && notes.map((note) => html`<p class="note" key=${note}>${note}</p>`)}
  </section>`;
}
