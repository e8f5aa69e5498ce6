// Is every tag there, fresh and plausible? And what does the device answer when asked now?
import { html, useState } from "../view.js";
import { get, post } from "../api.js";
import { Icon } from "../icons.js";
import { Loaded, MachineSelect, PageHead, say, sentence, useEvery, useLoad, useMachines } from "../parts.js";
import { setQuery } from "../route.js";
import { may } from "../store.js";
import { DataTable } from "../table.js";
import { t } from "../texts.js";

const RENEW_S = 5;

export function CommissioningPage({ query }) {
  const machines = useMachines();
  const machine = query.machine || machines[0]?.machine;
  const found = useLoad(async (signal) => (machine ? get("/tags", { machine }, signal) : null), [machine]);
  const standing = useLoad(async (signal) => (machine ? get("/standing", { machine }, signal) : null), [machine]);
  const [probed, show] = useState(null);
  const [busy, work] = useState(false);
  useEvery(RENEW_S, () => !document.hidden && found.reload());
  const probe = async () => {
    work(true);
    try {
      show({ machine, table: await post("/probe", { machine }) });
    } catch (error) {
      say(sentence(error), true);
    }
    work(false);
  };
  return html`<${PageHead} title=${t("board.nav.commissioning")}>
      ${may("probe") && machine && html`<button class="main" disabled=${busy} onClick=${probe}>
        <${Icon} name="probe" />${busy ? t("board.working") : t("board.commissioning.probe")}</button>`}
    <//>
    <div class="bar"><${MachineSelect} value=${machine} pick=${(one) => setQuery({ machine: one })} every=${false} /></div>
    ${probed && probed.machine === machine && html`<div class="panel"><${DataTable} table=${probed.table} title=${t("board.commissioning.answered")} /></div>`}
    <div class="panel"><${Loaded} from=${found}>${(table) => table && html`<${DataTable} table=${table}
      source=${{ path: "/tags", query: { machine } }} />`}<//></div>
    <${Loaded} from=${standing}>${(data) => data?.tables.map((table) => html`<div class="panel" key=${table.name}>
      <${DataTable} table=${table} source=${{ path: "/standing", query: { machine } }} only=${table.name} /></div>`)}<//>`;
}
