/**
 * The proxy as a process, by hand or by a bench:
 *
 *     node --conditions=sluice-source lab/netem-proxy/main.ts --listen 127.0.0.1:4000 --target 127.0.0.1:3478 --profile lte
 *     … --seed 7 --loss 0.05 --delay 30 --jitter 5    # one by one; with --profile they change it, in both directions
 *     … --burst-loss 0.01,0.2                         # Gilbert-Elliott: good to bad, bad to good
 *
 * Then one JSON object a line on standard input: {"profile":"train"}, {"up":{...},"down":{...}}, {"rebind":true},
 * {"changePath":"127.0.0.2"}, {"blackout":3000}, {"retarget":"127.0.0.1:3479"}, {"stats":true}, {"profiles":true}. Answers with one JSON object a line.
 */
import { createInterface } from "node:readline";
import { parseArgs } from "node:util";
import { type Impairments, networkProfile, PROFILES } from "@sluice/netem";
import { NetemProxy } from "./proxy.ts";

const { values } = parseArgs({
  options: {
    listen: { type: "string", default: "127.0.0.1:0" },
    target: { type: "string" },
    seed: { type: "string", default: "1" },
    profile: { type: "string", default: "clear" },
    loss: { type: "string" },
    "burst-loss": { type: "string" },
    delay: { type: "string" },
    jitter: { type: "string" },
    reorder: { type: "string" },
    duplicate: { type: "string" },
    corrupt: { type: "string" },
    rate: { type: "string" },
    queue: { type: "string" },
    mtu: { type: "string" },
    blackhole: { type: "boolean", default: false },
    "rebind-every": { type: "string" },
  },
});
if (values.target === undefined) {
  console.error("usage: main.ts --target ADDRESS:PORT [--listen ADDRESS:PORT] [--seed N] [--loss P] [--delay MS] ...");
  process.exit(2);
}

const profile = profileOrUsage(values.profile);
const flags = {
  loss: number(values.loss) ?? burst(values["burst-loss"]),
  delayMs: number(values.delay),
  jitterMs: number(values.jitter),
  reorder: number(values.reorder),
  duplicate: number(values.duplicate),
  corrupt: number(values.corrupt),
  bitsPerSecond: number(values.rate),
  queueBytes: number(values.queue),
  mtu: number(values.mtu),
  blackhole: values.blackhole || undefined,
};
const asked: Impairments = Object.fromEntries(Object.entries(flags).filter(([, value]) => value !== undefined));
const rebindEveryMs = number(values["rebind-every"]) ?? profile.rebindEveryMs;
const proxy = await NetemProxy.open({
  listen: parseAddress(values.listen),
  target: parseAddress(values.target),
  seed: Number(values.seed),
  up: { ...profile.up, ...asked },
  down: { ...profile.down, ...asked },
  ...(rebindEveryMs === undefined ? {} : { rebindEveryMs }),
});
say({ listening: proxy.port, profile: profile.name, seed: Number(values.seed) });

for await (const line of createInterface({ input: process.stdin })) {
  try {
    obey(JSON.parse(line));
  } catch (error) {
    say({ error: String(error) });
  }
}
proxy.close();

function obey(order: Record<string, unknown>): void {
  if (typeof order.profile === "string") proxy.become(networkProfile(order.profile));
  proxy.impair(order);
  if (order.rebind === true) proxy.rebind();
  if (typeof order.blackout === "number") proxy.blackout(order.blackout);
  if (typeof order.changePath === "string") proxy.changePath(order.changePath);
  if (typeof order.retarget === "string") proxy.retarget(parseAddress(order.retarget));
  if (order.profiles === true) say({ profiles: Object.values(PROFILES) });
  else say(order.stats === true ? proxy.stats : { done: Object.keys(order) });
}

function profileOrUsage(name: string) {
  try {
    return networkProfile(name);
  } catch (error) {
    console.error(String(error));
    process.exit(2);
  }
}

function number(text: string | undefined): number | undefined {
  return text === undefined ? undefined : Number(text);
}

function burst(text: string | undefined): Impairments["loss"] {
  if (text === undefined) return undefined;
  const [goodToBad = 0, badToGood = 1] = text.split(",").map(Number);
  return { goodToBad, badToGood };
}

function parseAddress(text: string) {
  const colon = text.lastIndexOf(":");
  return { address: text.slice(0, colon).replace(/^\[|\]$/g, ""), port: Number(text.slice(colon + 1)) };
}

function say(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value)}\n`);
}
