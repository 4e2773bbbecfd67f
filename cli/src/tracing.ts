/** OpenTelemetry: with `OTEL_EXPORTER_OTLP_ENDPOINT` set, every call is told to that collector as spans, over HTTP. */
import type { Tracer } from "@opentelemetry/api";
import { type Environment, UsageError } from "./flags.ts";

/** Where calls are recorded. */
export interface Tracing {
  readonly tracer: Tracer;
  /** Sends what is left, for 2 s at the most: a collector that is away holds up no end. */
  close(): Promise<void>;
}

const LAST_SPANS_MS = 2000;

/** `undefined` without an endpoint. The exporter reads the other `OTEL_…` variables (headers, timeout) by itself. */
export async function createTracing(env: Environment, version: string): Promise<Tracing | undefined> {
  const endpoint = env.OTEL_EXPORTER_OTLP_TRACES_ENDPOINT ?? env.OTEL_EXPORTER_OTLP_ENDPOINT;
  if (endpoint === undefined || endpoint === "") return undefined;
  if (!/^https?:$/.test(URL.parse(endpoint)?.protocol ?? "")) {
    throw new UsageError(`OTEL_EXPORTER_OTLP_ENDPOINT must be an http or https address, not "${endpoint}"`);
  }
  // Only who traces pays for loading it.
  const [{ OTLPTraceExporter }, { defaultResource, resourceFromAttributes }, { BatchSpanProcessor, TracerProvider }] =
    await Promise.all([
      import("@opentelemetry/exporter-trace-otlp-http"),
      import("@opentelemetry/resources"),
      import("@opentelemetry/sdk-trace"),
    ]);
  const name = env.OTEL_SERVICE_NAME ?? "sluice";
  const provider = new TracerProvider({
    resource: defaultResource().merge(resourceFromAttributes({ "service.name": name, "service.version": version })),
    spanProcessors: [new BatchSpanProcessor({ exporter: new OTLPTraceExporter(), scheduledDelayMillis: 1000 })],
  });
  const close = async () => {
    const late = Promise.withResolvers<void>();
    const timer = setTimeout(late.resolve, LAST_SPANS_MS);
    await Promise.race([provider.shutdown().catch(() => {}), late.promise]);
    clearTimeout(timer);
  };
  return { tracer: provider.getTracer("sluice", version), close };
}
