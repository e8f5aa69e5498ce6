// Modbus TCP servers that share no code with ours. Usage: node server.mjs modbus-serial|jsmodbus CONTENT [LISTENERS].
// CONTENT is JSON: holding, input: registers as base64, most significant byte first; coil, discrete: bits as base64, the first one lowest.
// Prints "ready PORT…" and ends with its standard input. On it, for modbus-serial: `refuse FIRST LAST CODE`, `slow MS`.
import modbusSerial from "modbus-serial";
import jsmodbus from "jsmodbus";
import { createServer } from "node:net";
import { createInterface } from "node:readline";

const kind = process.argv[2];
const content = Object.fromEntries(Object.entries(JSON.parse(process.argv[3])).map(([k, v]) => [k, Buffer.from(v, "base64")]));
const refused = { first: 1, last: 0, code: 0 };
let slowMs = 0;

const start = {
  async "modbus-serial"() {
    const tell = (value) => (slowMs ? new Promise((said) => setTimeout(() => said(value()), slowMs)) : value());
    const there = (place, count) => {
      if (place >= refused.first && place <= refused.last) throw { modbusErrorCode: refused.code, msg: "refused" };
      if (place >= count) throw { modbusErrorCode: 2, msg: "not there" };
    };
    const word = (table) => (place) => {
      there(place, content[table].length / 2);
      return tell(() => content[table].readUInt16BE(2 * place));
    };
    const bit = (table) => (place) => {
      there(place, content[table].length * 8);
      return tell(() => Boolean((content[table][place >> 3] >> (place & 7)) & 1));
    };
    const vector = { getHoldingRegister: word("holding"), getInputRegister: word("input"), getCoil: bit("coil"),
      getDiscreteInput: bit("discrete") };
    const probe = createServer().listen(0, "127.0.0.1");
    await new Promise((done) => probe.once("listening", done));
    const { port } = probe.address();
    await new Promise((done) => probe.close(done));
    const server = new modbusSerial.ServerTCP(vector, { host: "127.0.0.1", port, unitID: 255 });
    await new Promise((done) => server.once("initialized", done));
    return port;
  },
  async jsmodbus() {
    const ports = [];
    for (let i = 0; i < Number(process.argv[4] ?? 1); i++) {
      const net = createServer((link) => link.on("error", () => link.destroy()));  // a reset is no reason to die
      new jsmodbus.server.TCP(net, content);
      await new Promise((done) => net.listen(0, "127.0.0.1", done));
      ports.push(net.address().port);
    }
    return ports.join(" ");
  },
};
const hear = {
  refuse(first, last, code) { Object.assign(refused, { first, last, code }); },
  slow(ms) { slowMs = ms; },
};
content.coils = content.coil;  // as jsmodbus calls them
const port = await start[kind]();
createInterface({ input: process.stdin }).on("line", (line) => {
  const [word, ...numbers] = line.split(" ");
  hear[word](...numbers.map(Number));
  console.log(`done ${line}`);
}).on("close", () => process.exit(0));
console.log(`ready ${port}`);
