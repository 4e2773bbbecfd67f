/** What every engine behind a network owes its caller when the server fails it; the same tests for every adapter. */
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { EngineError, type EngineErrorKind } from "../http/engine-error.ts";
import type { RetryPolicy } from "../http/retry.ts";
import type { StageTimeouts } from "../http/timed.ts";
import { endAfterAbort, leavesNothing } from "./resources.ts";
import type { Behaviour, Upstream } from "./upstream.ts";

/** How an adapter is called by these tests. */
export interface CallOptions {
  readonly url: string;
  readonly apiKey: string;
  readonly timeouts: StageTimeouts;
  readonly retry: Partial<RetryPolicy>;
}

/** An adapter and its server. */
export interface FaultCase {
  start(): Promise<Upstream>;
  /** One whole use of the engine. */
  call(options: CallOptions, signal: AbortSignal): AsyncIterable<{ readonly kind: string }>;
  /** Fails unless these are the events of a good answer. */
  check(events: readonly { readonly kind: string }[]): void;
  /** What a server can do that this one's protocol takes for an answer. */
  readonly immune?: readonly ("malformed" | "endless" | "nothing")[];
}

const KEY = "sk-test-0123456789abcdef";
/** Where no limit is to be reached, however busy the machine is. */
const PATIENT: StageTimeouts = { connectMs: 10_000, firstMs: 10_000, betweenMs: 10_000 };
const IMPATIENT: StageTimeouts = { connectMs: 10_000, firstMs: 300, betweenMs: 200 };
const RETRY = { baseMs: 5, capMs: 10, random: () => 0.5 };

/** Declares the tests of one adapter. */
export function testFaults(name: string, { start, call, check, immune = [] }: FaultCase): void {
  const upstream = start();
  after(async () => (await upstream).close());
  const never = new AbortController().signal;

  const use = async (server: Upstream, signal = never, timeouts = PATIENT) => {
    const events: { readonly kind: string }[] = [];
    for await (const event of call({ url: server.url, apiKey: KEY, timeouts, retry: RETRY }, signal))
      events.push(event);
    return events;
  };
  /** Whatever happened: the next call works. */
  const usable = async (server: Upstream) => {
    server.plan();
    check(await use(server));
  };
  const withServer = (sentence: string, run: (server: Upstream) => Promise<void>) =>
    test(`${name}: ${sentence}`, async () => {
      await run(await upstream);
      await usable(await upstream);
    });
  const fails = async (server: Upstream, kind: EngineErrorKind | RegExp) => {
    const error = await use(server, never, kind === "timeout" ? IMPATIENT : PATIENT).then(
      () => assert.fail("it did not fail"),
      (reason: unknown) => reason,
    );
    assert.ok(error instanceof EngineError, String(error));
    assert.match(error.kind, typeof kind === "string" ? new RegExp(`^${kind}$`) : kind, error.message);
    assert.ok(!error.message.includes(KEY), error.message);
    assert.match(error.message, /^the [a-z ]+ at https?:\/\/127|^the [a-z ]+ at wss?:\/\/127/);
    return error;
  };
  /** Fails by `kind`, after `requests` requests. */
  const failsAfter =
    (requests: number, kind: EngineErrorKind, ...plan: readonly Behaviour[]) =>
    async (server: Upstream) => {
      const before = server.requests;
      server.plan(...plan);
      await fails(server, kind);
      assert.equal(server.requests - before, requests);
    };

  withServer("works, again and again", usable);

  withServer("says so when nobody listens", async () => {
    const gone = await start();
    await gone.close();
    const error = await fails(gone, "unreachable");
    assert.match(error.message, /running/);
  });

  withServer("asks once when the key is refused, and does not tell the key", async (server) => {
    const before = server.requests;
    server.plan({ status: 401, body: JSON.stringify({ error: { message: `Incorrect API key provided: ${KEY}` } }) });
    const error = await fails(server, "unauthorized");
    assert.equal(error.status, 401);
    assert.equal(error.retryable, false);
    assert.equal(server.requests - before, 1);
  });

  withServer("asks once when the request is refused, and says why", async (server) => {
    const before = server.requests;
    server.plan({ status: 400, body: JSON.stringify({ error: { message: "the model is too small" } }) });
    assert.match((await fails(server, "rejected")).message, /the model is too small/);
    assert.equal(server.requests - before, 1);
  });

  withServer("waits as long as a busy server asks", async (server) => {
    server.plan({ status: 429, headers: { "retry-after": "0.05" } });
    check(await use(server));
  });

  withServer(
    "does not wait longer than a caller would",
    failsAfter(1, "rateLimited", { status: 429, headers: { "retry-after": "60" } }),
  );

  withServer("asks again when the server fails", async (server) => {
    server.plan({ status: 500 }, { status: 503, body: "<html>" });
    check(await use(server));
  });

  withServer(
    "gives up after the third time",
    failsAfter(3, "unavailable", { status: 500 }, { status: 502 }, { status: 500 }),
  );

  withServer("asks again when the connection breaks before the answer", async (server) => {
    server.plan("cut");
    check(await use(server));
  });

  withServer("fails when no answer comes in time", failsAfter(1, "timeout", "stall"));
  withServer("fails when the answer stops", failsAfter(1, "timeout", "stallWithin"));
  withServer("fails when the answer breaks off, and does not begin anew", failsAfter(1, "cut", "cutWithin"));
  if (!immune.includes("malformed"))
    withServer("fails when the server talks nonsense", failsAfter(1, "malformed", "malformed"));
  if (!immune.includes("endless"))
    withServer("fails when an event never ends", async (server) => {
      server.plan("endless", "endless", "endless");
      await fails(server, /malformed|cut/);
    });
  if (!immune.includes("nothing"))
    withServer("fails when the server is done without a word", async (server) => {
      server.plan("nothing", "nothing", "nothing");
      await fails(server, /empty|failed/);
    });

  for (const behaviour of ["stall", "stallWithin"] as const) {
    withServer(`ends within 50 ms of an abort at a ${behaviour}, and leaves nothing`, async (server) => {
      await leavesNothing(async () => {
        const delays = [];
        for (let turn = 0; turn < 3; turn++) {
          server.plan(behaviour);
          const controller = new AbortController();
          const requests = server.requests;
          const iteration = use(server, controller.signal);
          iteration.catch(() => undefined);
          while (server.requests === requests) await sleep(1);
          await sleep(10);
          delays.push(await endAfterAbort(controller, iteration));
        }
        assert.ok(Math.min(...delays) < 50, `${delays} ms`); // the fastest: other tests run beside this one
      });
      await until(() => server.connections <= 1); // one may be kept for the next turn
    });
  }

  withServer("leaves nothing when nobody reads on", async (server) => {
    await leavesNothing(async () => {
      server.plan("stallWithin");
      const options = { url: server.url, apiKey: KEY, timeouts: PATIENT, retry: RETRY };
      for await (const _ of call(options, never)) break;
    }).catch((error: unknown) => {
      if (!(error instanceof EngineError)) throw error; // an engine whose first event is its last had none
    });
  });

  test(`${name}: asks nothing when it was aborted before`, async () => {
    const server = await upstream;
    const before = server.requests;
    assert.deepEqual(await use(server, AbortSignal.abort()), []);
    assert.equal(server.requests, before);
  });
}

/** Waits until `holds`, which it soon must. */
async function until(holds: () => boolean): Promise<void> {
  for (let turn = 0; turn < 400 && !holds(); turn++) await sleep(5);
  assert.ok(holds());
}
