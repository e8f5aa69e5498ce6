// An OPC UA server that shares no code with ours: all policies, users, untrusted clients rejected, history, structures.
// Usage: node server.mjs FOLDER [OPTIONS as JSON]; prints "ready PORT", ends with its standard input.
//   port: where it listens (0: somewhere free); before: namespaces registered before its own, which shift its index;
//   line: {"counters": n, "everyMs": t, "history": how many of them have one, "kept": values a history holds}.
// On standard input: `trust` trusts the rejected clients; `count` starts the line, `halt` stops it, `shift MS` moves its
// clock; `forget` drops what is monitored without a word to its clients; `weld JSON` sets the structure.
import { OPCUAServer, OPCUACertificateManager, MessageSecurityMode, SecurityPolicy, DataType, StatusCodes, nodesets,
  standardUnits } from "node-opcua";
import { readCertificate } from "node-opcua-crypto";
import { readdirSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { createInterface } from "node:readline";
import { join } from "node:path";

const folder = process.argv[2];
const options = JSON.parse(process.argv[3] ?? "{}");
const free = () => new Promise((tell) => {
  const probe = createServer().listen(0, "127.0.0.1", () => {
    const { port } = probe.address();
    probe.close(() => tell(port));
  });
});
const port = options.port || await free();
const clients = new OPCUACertificateManager({ rootFolder: join(folder, "clients"), automaticallyAcceptUnknownCertificate: false });
const people = new OPCUACertificateManager({ rootFolder: join(folder, "people"), automaticallyAcceptUnknownCertificate: true });
await clients.initialize();
await people.initialize();
const field = (name, type, more = "") => `<Field Name="${name}" DataType="${type}" ${more}/>`;
const struct = (id, name, fields, kind = "") => `
  <UADataType NodeId="ns=1;i=${id}" BrowseName="1:${name}"><DisplayName>${name}</DisplayName>
    <References><Reference ReferenceType="HasSubtype" IsForward="false">i=${kind === "IsUnion" ? 12756 : 22}</Reference>
      <Reference ReferenceType="HasEncoding">ns=1;i=${id + 1}</Reference></References>
    <Definition Name="1:${name}" ${kind && `${kind}="true"`}>${fields.join("")}</Definition></UADataType>
  <UAObject NodeId="ns=1;i=${id + 1}" BrowseName="Default Binary" SymbolicName="DefaultBinary">
    <DisplayName>Default Binary</DisplayName>
    <References><Reference ReferenceType="HasEncoding" IsForward="false">ns=1;i=${id}</Reference>
      <Reference ReferenceType="HasTypeDefinition">i=76</Reference></References></UAObject>`;
const list = 'ValueRank="1"';
const types = join(folder, "weld.xml");
writeFileSync(types, `<?xml version="1.0"?>
<UANodeSet xmlns="http://opcfoundation.org/UA/2011/03/UANodeSet.xsd">
  <NamespaceUris><Uri>urn:test:weld</Uri></NamespaceUris>
  <Models><Model ModelUri="urn:test:weld"><RequiredModel ModelUri="http://opcfoundation.org/UA/"/></Model></Models>
  <Aliases><Alias Alias="HasSubtype">i=45</Alias><Alias Alias="HasEncoding">i=38</Alias>
    <Alias Alias="HasTypeDefinition">i=40</Alias></Aliases>
  ${struct(3000, "Point", [field("X", "i=11"), field("Force", "i=10")])}
  ${struct(3010, "Weld", [field("Current", "i=11"), field("Count", "i=8"), field("Ok", "i=1"), field("Program", "i=12"),
    field("Spot", "ns=1;i=3000"), field("Path", "ns=1;i=3000", list), field("Currents", "i=10", list),
    field("Began", "i=294"), field("Lot", "i=21")])}
  ${struct(3020, "Sparse", [field("A", "i=11"), field("B", "i=11", 'IsOptional="true"'), field("C", "i=11")])}
</UANodeSet>`);
const server = new OPCUAServer({
  port, hostname: "127.0.0.1", resourcePath: "/press",
  nodeset_filename: [nodesets.standard, types],
  serverCertificateManager: clients, userCertificateManager: people,
  securityModes: [MessageSecurityMode.None, MessageSecurityMode.Sign, MessageSecurityMode.SignAndEncrypt],
  securityPolicies: [SecurityPolicy.None, SecurityPolicy.Basic256Sha256, SecurityPolicy.Aes128_Sha256_RsaOaep,
    SecurityPolicy.Aes256_Sha256_RsaPss],
  allowAnonymous: true,
  userManager: { isValidUser: (user, password) => user === "reader" && password === "secret" },
});
await server.initialize();
const book = server.engine.addressSpace;
const space = book.getOwnNamespace();
const objects = book.rootFolder.objects;
const press = space.addObject({ organizedBy: objects, browseName: "Press" });
const temp = space.addAnalogDataItem({ componentOf: press, browseName: "Oil temperature", nodeId: "s=temp",
  definition: "1", engineeringUnitsRange: { low: 0, high: 120 }, dataType: "Double",
  engineeringUnits: standardUnits.degree_celsius });
temp.setValueFromSource({ dataType: DataType.Double, value: 20.5 });

const welds = book.getNamespace("urn:test:weld");
const made = (name, content) => book.constructExtensionObject(book.findDataType(name, welds.index), content);
const weld = { current: 9.5, count: -3, ok: true, program: "P-7", spot: { x: 1.5, force: 2.5 },
  path: [{ x: 1, force: 10 }, { x: 2, force: 20 }], currents: [1.5, 2.5, 3.5], began: new Date("2026-05-01T08:00:00Z"),
  lot: { text: "L-1", locale: "ko" } };
const holds = (nodeId, type, value, more = {}) => {
  const node = welds.addVariable({ componentOf: press, browseName: nodeId, nodeId: `s=${nodeId}`,
    dataType: book.findDataType(type, welds.index) ?? type, ...more });
  node.setValueFromSource({ dataType: DataType.ExtensionObject, ...value });
  return node;
};
const welded = holds("Weld1", "Weld", { value: made("Weld", weld) });
holds("Sparse1", "Sparse", { value: made("Sparse", { a: 1, c: 3 }) });
holds("Points", "Point", { arrayType: 1, value: [made("Point", { x: 4, force: 5 }), made("Point", { x: 6, force: 7 })] },
  { valueRank: 1 });

for (const uri of options.before ?? []) book.registerNamespace(uri);
const line = options.line && book.registerNamespace("urn:test:line");
const counters = Array.from({ length: options.line?.counters ?? 0 }, (_, i) => {
  const node = line.addVariable({ componentOf: press, browseName: `c${i}`, nodeId: `s=c${i}`, dataType: "Double",
    minimumSamplingInterval: 0 });
  node.setValueFromSource({ dataType: DataType.Double, value: 0 });
  if (i < options.line.history) book.installHistoricalDataNode(node, { maxOnlineValues: options.line.kept ?? 100_000 });
  return node;
});
let counting, number = 0, shiftMs = 0;
function count() {  // one number a tick, the same for all; no tick is left out, however late the timer
  const began = Date.now() - number * options.line.everyMs;
  counting = setInterval(() => {
    for (; (number + 1) * options.line.everyMs <= Date.now() - began; ) {
      number += 1;
      const stamp = new Date(began + number * options.line.everyMs + shiftMs);
      for (const node of counters)
        node.setValueFromSource({ dataType: DataType.Double, value: number }, StatusCodes.Good, stamp);
    }
  }, Math.min(options.line.everyMs, 20));
}
const hear = {
  async trust() {
    for (const name of readdirSync(clients.rejectedFolder))
      await clients.trustCertificate(readCertificate(join(clients.rejectedFolder, name)));
    return "trusted";
  },
  count() { count(); return "counting"; },
  shift(ms) { shiftMs = Number(ms); return "shifted"; },
  halt() { clearInterval(counting); return `halted ${number}`; },
  forget() {
    let dropped = 0;
    for (const session of Object.values(server.engine._sessions ?? {}))
      for (const subscription of Object.values(session.publishEngine._subscriptions ?? {})) {
        subscription.removeMonitoredItems([...subscription.monitoredItems.keys()]);
        dropped += 1;
      }
    return `forgotten ${dropped}`;
  },
  weld(text) {
    welded.setValueFromSource({ dataType: DataType.ExtensionObject, value: made("Weld", { ...weld, ...JSON.parse(text) }) });
    return "welded";
  },
};
await server.start();
createInterface({ input: process.stdin }).on("line", async (text) => {
  const [, word, rest] = /^(\w+) ?(.*)$/.exec(text);
  console.log(await hear[word](rest));
}).on("close", () => process.exit(0));
console.log(`ready ${port}`);
