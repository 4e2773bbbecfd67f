/**
 * The proxy as a process, by hand or by a bench:
 *
 *     node --conditions=sluice-source lab/netem-proxy/main.ts --listen 127.0.0.1:4000 --target 127.0.0.1:3478 --seed 7 --loss 0.05
 *
 * Then one JSON object a line on standard input: {"up":{...},"down":{...}}, {"rebind":true}, {"changePath":"127.0.0.2"},
 * {"retarget":"127.0.0.1:3479"}, {"stats":true}. Answers with one JSON object a line.
 */
import { createInterface } from "node:readline";
import { parseArgs } from "node:util";
import type { Impairments } from "@sluice/netem";
import { NetemProxy } from "./proxy.ts";

const { values } = parseArgs({
  options: {
    listen: { type: "string", default: "127.0.0.1:0" },
    target: { type: "string" },
    seed: { type: "string", default: "1" },
    loss: { type: "string" },
    delay: { type: "string" },
    jitter: { type: "string" },
    reorder: { type: "string" },
    duplicate: { type: "string" },
    corrupt: { type: "string" },
    rate: { type: "string" },
    mtu: { type: "string" },
  },
});
if (values.target === undefined) {
  console.error("usage: main.ts --target ADDRESS:PORT [--listen ADDRESS:PORT] [--seed N] [--loss P] [--delay MS] ...");
  process.exit(2);
}

const flags = {
  loss: values.loss,
  delayMs: values.delay,
  jitterMs: values.jitter,
  reorder: values.reorder,
  duplicate: values.duplicate,
  corrupt: values.corrupt,
  bitsPerSecond: values.rate,
  mtu: values.mtu,
};
const impairments: Impairments = Object.fromEntries(
  Object.entries(flags).flatMap(([name, value]) => (value === undefined ? [] : [[name, Number(value)]])),
);
const proxy = await NetemProxy.open({
  listen: parseAddress(values.listen),
  target: parseAddress(values.target),
  seed: Number(values.seed),
  up: impairments,
  down: impairments,
});
say({ listening: proxy.port, seed: Number(values.seed) });

for await (const line of createInterface({ input: process.stdin })) {
  try {
    obey(JSON.parse(line));
  } catch (error) {
    say({ error: String(error) });
  }
}
proxy.close();

function obey(order: Record<string, unknown>): void {
  proxy.impair(order);
  if (order.rebind === true) proxy.rebind();
  if (typeof order.changePath === "string") proxy.changePath(order.changePath);
  if (typeof order.retarget === "string") proxy.retarget(parseAddress(order.retarget));
  say(order.stats === true ? proxy.stats : { done: Object.keys(order) });
}

function parseAddress(text: string) {
  const colon = text.lastIndexOf(":");
  return { address: text.slice(0, colon).replace(/^\[|\]$/g, ""), port: Number(text.slice(colon + 1)) };
}

function say(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value)}\n`);
}
