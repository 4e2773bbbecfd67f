import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { test } from "node:test";
import { UsageError } from "./flags.ts";
import { createTracing } from "./tracing.ts";

test("spans of a call reach an OTLP collector over HTTP, the last of them when the process ends", async (t) => {
  const bodies: string[] = [];
  const collector = createServer(async (request, response) => {
    bodies.push(`${request.url} ${(await request.toArray()).join("")}`);
    response.writeHead(200, { "content-type": "application/json" }).end("{}");
  });
  collector.listen(0, "127.0.0.1");
  await once(collector, "listening");
  t.after(() => collector.close());
  const endpoint = `http://127.0.0.1:${(collector.address() as AddressInfo).port}`;
  // The exporter reads the process's own environment.
  process.env.OTEL_EXPORTER_OTLP_ENDPOINT = endpoint;
  t.after(() => delete process.env.OTEL_EXPORTER_OTLP_ENDPOINT);
  const tracing = await createTracing({ OTEL_EXPORTER_OTLP_ENDPOINT: endpoint }, "1.2.3");
  tracing?.tracer.startSpan("call", { attributes: { "sluice.pipe": "webrtc" } }).end();
  await tracing?.close();
  assert.equal(bodies.length, 1);
  assert.match(bodies[0]!, /^\/v1\/traces .*"call".*sluice\.pipe.*webrtc/);
  assert.match(bodies[0]!, /service\.name.*sluice/);
});

test("without an endpoint nothing is traced, and one that is no address is refused", async () => {
  assert.equal(await createTracing({}, "1"), undefined);
  await assert.rejects(createTracing({ OTEL_EXPORTER_OTLP_ENDPOINT: "jaeger:4318" }, "1"), UsageError);
});
