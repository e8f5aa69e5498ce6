// An OPC UA server that shares no code with ours: all policies, users, untrusted clients rejected.
// Usage: node server.mjs FOLDER; prints "ready PORT", ends with its standard input. `trust` on it trusts the rejected.
import { OPCUAServer, OPCUACertificateManager, MessageSecurityMode, SecurityPolicy, DataType, standardUnits } from "node-opcua";
import { readCertificate } from "node-opcua-crypto";
import { readdirSync } from "node:fs";
import { createServer } from "node:net";
import { createInterface } from "node:readline";
import { join } from "node:path";

const folder = process.argv[2];
const port = await new Promise((tell) => {
  const probe = createServer().listen(0, "127.0.0.1", () => {
    const { port } = probe.address();
    probe.close(() => tell(port));
  });
});
const clients = new OPCUACertificateManager({ rootFolder: join(folder, "clients"), automaticallyAcceptUnknownCertificate: false });
const people = new OPCUACertificateManager({ rootFolder: join(folder, "people"), automaticallyAcceptUnknownCertificate: true });
await clients.initialize();
await people.initialize();
const server = new OPCUAServer({
  port, hostname: "127.0.0.1", resourcePath: "/press",
  serverCertificateManager: clients, userCertificateManager: people,
  securityModes: [MessageSecurityMode.None, MessageSecurityMode.Sign, MessageSecurityMode.SignAndEncrypt],
  securityPolicies: [SecurityPolicy.None, SecurityPolicy.Basic256Sha256, SecurityPolicy.Aes128_Sha256_RsaOaep,
    SecurityPolicy.Aes256_Sha256_RsaPss],
  allowAnonymous: true,
  userManager: { isValidUser: (user, password) => user === "reader" && password === "secret" },
});
await server.initialize();
const space = server.engine.addressSpace.getOwnNamespace();
const press = space.addObject({ organizedBy: server.engine.addressSpace.rootFolder.objects, browseName: "Press" });
const temp = space.addAnalogDataItem({ componentOf: press, browseName: "Oil temperature", nodeId: "s=temp",
  definition: "1", engineeringUnitsRange: { low: 0, high: 120 }, dataType: "Double",
  engineeringUnits: standardUnits.degree_celsius });
temp.setValueFromSource({ dataType: DataType.Double, value: 20.5 });
await server.start();
createInterface({ input: process.stdin }).on("line", async (line) => {
  if (line !== "trust") return;
  for (const name of readdirSync(clients.rejectedFolder))
    await clients.trustCertificate(readCertificate(join(clients.rejectedFolder, name)));
  console.log("trusted");
}).on("close", () => process.exit(0));
console.log(`ready ${port}`);
