// Unpacks the browser into the folder TMPDIR and says where it is and where libraries for machines without NSS are.
import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { brotliDecompressSync } from "node:zlib";
import chromium from "@sparticuz/chromium";

const folder = process.env.TMPDIR;
const browser = await chromium.executablePath();
const packed = readFileSync(join(import.meta.dirname, "node_modules/@sparticuz/chromium/bin/al2023.tar.br"));
const libraries = join(folder, "libraries");
mkdirSync(libraries, { recursive: true });
execFileSync("tar", ["-x", "-C", libraries], { input: brotliDecompressSync(packed) });
console.log(JSON.stringify({ browser, libraries: join(libraries, "lib") }));
