// An edge node on strings: each line of the standard input is [method, ...arguments] of sparkplug-client, or ["stop"].
// It says a line of JSON for what happens: ["birth"] when a birth is due, ["ncmd", payload] for a command.
// It ends with its standard input, so it never outlives the test that owns it.
import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const sparkplug = createRequire(import.meta.url)("sparkplug-client");
const say = (...words) =>
  process.stdout.write(JSON.stringify(words, (_, v) => (typeof v === "bigint" ? Number(v) : v)) + "\n");
const client = sparkplug.newClient(JSON.parse(process.argv[2]));
client.on("birth", () => say("birth"));
client.on("ncmd", (payload) => say("ncmd", payload));
client.on("error", (error) => say("error", String(error)));

const lines = createInterface({ input: process.stdin });
lines.on("line", (line) => {
  const [method, ...rest] = JSON.parse(line);
  client[method](...rest);
  if (method !== "stop") say("done");
});
lines.on("close", () => setTimeout(() => process.exit(0), 200));
