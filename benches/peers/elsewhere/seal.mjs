// iron-session: seals and opens the JSON files named on the command line.
import { readFileSync } from "node:fs";
import { randomBytes } from "node:crypto";
import { basename } from "node:path";
import { sealData, unsealData } from "iron-session";

const password = randomBytes(32).toString("base64");
const TIMES = 3000;

async function microseconds(work) {
  for (let i = 0; i < TIMES / 10; i++) await work();
  const start = process.hrtime.bigint();
  for (let i = 0; i < TIMES; i++) await work();
  return Number(process.hrtime.bigint() - start) / 1000 / TIMES;
}

for (const file of process.argv.slice(2)) {
  const data = JSON.parse(readFileSync(file, "utf8"));
  const sealed = await sealData(data, { password });
  const opened = await unsealData(sealed, { password });
  if (opened.user_id !== data.user_id) throw new Error("it does not come back");
  const seal = await microseconds(() => sealData(data, { password }));
  const open = await microseconds(() => unsealData(sealed, { password }));
  console.log(`| iron-session | ${basename(file, ".json")} | ${open.toFixed(2)} | ${seal.toFixed(2)} | ${sealed.length} |`);
}
