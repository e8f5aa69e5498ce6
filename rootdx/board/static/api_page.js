// The REST API's own description, readable: every endpoint with what it takes and gives.
import { html, render } from './vendor/preact-htm.js';

const described = await (await fetch('/api/v1/openapi.json')).json();
const schemas = described.components?.schemas ?? {};

function typeOf(schema) {
  if (!schema) return '';
  if (schema.$ref) return schema.$ref.split('/').pop();
  if (schema.enum) return schema.enum.join(' | ');
  if (schema.const !== undefined) return String(schema.const);
  if (schema.anyOf) return schema.anyOf.map(typeOf).filter((one) => one !== 'null').join(' | ');
  if (schema.type === 'array') return `[${typeOf(schema.items)}]`;
  const limits = [['minimum', '≥'], ['maximum', '≤'], ['minLength', 'length ≥'], ['maxLength', 'length ≤']]
    .filter(([name]) => schema[name] !== undefined).map(([name, sign]) => `${sign} ${schema[name]}`);
  return [schema.type ?? 'any', ...limits].join(', ');
}

function bodyFields(schema) {
  const found = schema?.$ref ? schemas[schema.$ref.split('/').pop()] : schema;
  return Object.entries(found?.properties ?? {}).map(([name, one]) => ({
    name, where: 'body', schema: one, required: (found.required ?? []).includes(name), description: one.description,
  }));
}

function Operation({ verb, path, told }) {
  const given = (told.parameters ?? []).map((one) => ({ ...one, where: one.in }));
  const fields = [...given, ...bodyFields(told.requestBody?.content?.['application/json']?.schema)];
  return html`<details>
    <summary><b>${verb.toUpperCase()}</b><code>${path}</code><span class="sub">${(told.description ?? told.summary ?? '').split('\n')[0]}</span></summary>
    <div>
      ${fields.length > 0 && html`<table>
        <thead><tr><th scope="col">name</th><th scope="col">in</th><th scope="col">type</th><th scope="col">default</th><th scope="col">meaning</th></tr></thead>
        <tbody>${fields.map((one) => html`<tr>
          <td><code>${one.name}</code>${one.required ? ' *' : ''}</td><td>${one.where}</td><td>${typeOf(one.schema)}</td>
          <td>${one.schema?.default === undefined ? '' : String(one.schema.default)}</td><td>${one.description ?? ''}</td>
        </tr>`)}</tbody>
      </table>`}
      <ul>${Object.entries(told.responses ?? {}).map(([status, one]) => html`<li><code>${status}</code> ${one.description} ${typeOf(one.content?.['application/json']?.schema)}</li>`)}</ul>
    </div>
  </details>`;
}

const groups = new Map();
for (const [path, verbs] of Object.entries(described.paths)) {
  for (const [verb, told] of Object.entries(verbs)) {
    const tag = told.tags?.[0] ?? '';
    if (!groups.has(tag)) groups.set(tag, []);
    groups.get(tag).push({ verb, path, told });
  }
}

render(html`
  <h1>${described.info.title} REST API ${described.info.version}</h1>
  <p>OpenAPI ${described.openapi}: <a href="/api/v1/openapi.json">/api/v1/openapi.json</a> · <a href="/">board</a></p>
  <p>POST /api/v1/session with <code>{"name", "password", "bearer": true}</code> gives a token for
    <code>Authorization: Bearer</code>. Changes need the header <code>X-Rootdx</code>, with any value. Times are ISO 8601, or
    milliseconds since 1970 in names that end in <code>_ms</code>.</p>
  ${[...groups].map(([tag, some]) => html`<section><h2>${tag}</h2>${some.map((one) => html`<${Operation} ...${one} />`)}</section>`)}
`, document.getElementById('api'));
