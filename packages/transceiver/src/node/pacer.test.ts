import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { type Paced, Pacer } from "./pacer.ts";

const now = () => performance.now();

/** Something due every `intervalMs`, `count` times, by an absolute grid. */
class Metronome implements Paced {
  readonly wokenFor: number[] = [];
  readonly #start: number;
  readonly #intervalMs: number;
  readonly #count: number;

  constructor(start: number, intervalMs: number, count: number) {
    this.#start = start;
    this.#intervalMs = intervalMs;
    this.#count = count;
  }

  handleTimeout(at: number): void {
    const due = this.pollTimeout();
    if (due !== undefined && at >= due) this.wokenFor.push(due);
  }

  pollTimeout(): number | undefined {
    const next = this.wokenFor.length;
    return next < this.#count ? this.#start + next * this.#intervalMs : undefined;
  }
}

test("serves many sessions by their own grids, none early, none lost, none drifting", async () => {
  const pacer = new Pacer(now, (error) => assert.ifError(error));
  const start = now() + 5;
  const sessions = Array.from({ length: 50 }, (_, index) => new Metronome(start + index * 0.37, 20, 10));
  for (const session of sessions) pacer.schedule(session);
  while (sessions.some((session) => session.pollTimeout() !== undefined)) await sleep(10);
  for (const [index, { wokenFor }] of sessions.entries()) {
    assert.equal(wokenFor.at(-1), start + index * 0.37 + 9 * 20);
  }
  assert(pacer.errorQuantile(0.5) >= 0);
  pacer.close();
});

test("takes up a deadline that moved, forward or back, and forgets what was removed", async () => {
  const pacer = new Pacer(now, (error) => assert.ifError(error));
  const woken: string[] = [];
  const entry = (name: string, due: number | undefined) => {
    const paced = {
      due,
      handleTimeout: () => {
        woken.push(name);
        paced.due = undefined;
      },
      pollTimeout: () => paced.due,
    };
    pacer.schedule(paced);
    return paced;
  };
  const late = entry("late", now() + 10_000);
  const gone = entry("gone", now() + 5);
  const never = entry("never", now() + 5);
  late.due = now() + 10;
  pacer.schedule(late);
  pacer.remove(gone);
  never.due = undefined;
  pacer.schedule(never);
  while (woken.length === 0) await sleep(5);
  await sleep(20);
  assert.deepEqual(woken, ["late"]);
  pacer.close();
});

test("what one session throws reaches the owner and no other session", async () => {
  const errors: unknown[] = [];
  const pacer = new Pacer(now, (error) => errors.push(error));
  const bad = {
    due: now() as number | undefined,
    handleTimeout: () => {
      bad.due = undefined;
      throw new Error("bug");
    },
    pollTimeout: () => bad.due,
  };
  const good = new Metronome(now(), 5, 3);
  pacer.schedule(bad);
  pacer.schedule(good);
  while (good.pollTimeout() !== undefined) await sleep(5);
  assert.equal(errors.length, 1);
  pacer.close();
});

test("what a long wake sends does not wait for its end, and nothing waits beyond it", async () => {
  const order: string[] = [];
  const time = { ms: 0 }; // a wake in which each session takes 0.4 ms
  const pacer = new Pacer(
    () => time.ms,
    (error) => assert.ifError(error),
    () => order.push("flush"),
  );
  for (let index = 0; index < 8; index++) {
    let due: number | undefined = 1;
    pacer.schedule({
      pollTimeout: () => due,
      handleTimeout: () => {
        due = undefined;
        time.ms += 0.4;
        order.push("send");
      },
    });
  }
  time.ms = 1;
  pacer.serveDue();
  const waits = order.join(" ").split("flush");
  assert.equal(order.filter((each) => each === "send").length, 8);
  assert.equal(order.at(-1), "flush");
  for (const sends of waits) assert.ok((sends.match(/send/g) ?? []).length <= 3, order.join(" "));
  pacer.close();
});
