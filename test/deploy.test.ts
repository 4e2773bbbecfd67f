/** What `deploy/` says of Sluice is true of it, and its manifests keep the rules that hold up a fleet. */
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { createParrot } from "@sluice/engines";
import { serveRelay } from "@sluice/relay";
import { createKeyRing, createServerId, generateKey } from "@sluice/routing";
import { serveTransceiver } from "@sluice/transceiver";
import { pino } from "pino";
import { parse, parseAllDocuments } from "yaml";
import { help } from "../cli/src/commands.ts";

const deploy = join(import.meta.dirname, "..", "deploy");
const read = (...path: string[]) => readFileSync(join(deploy, ...path), "utf8");

interface Manifest {
  readonly kind: string;
  readonly metadata: { readonly name: string };
  readonly spec: Record<string, unknown>;
  readonly automountServiceAccountToken?: boolean;
}
interface Container {
  readonly name: string;
  readonly args: readonly string[];
  readonly env?: readonly { readonly name: string; readonly value?: string }[];
  readonly ports: readonly { readonly name: string; readonly containerPort: number }[];
  readonly resources: { readonly requests: { cpu: string; memory: string }; readonly limits: { memory: string } };
  readonly securityContext: Record<string, unknown>;
  readonly [probe: `${string}Probe`]: { readonly httpGet?: { path: string; port: string } } | undefined;
}
interface Pod {
  readonly metadata: { readonly labels: Record<string, string> };
  readonly spec: {
    readonly serviceAccountName: string;
    readonly automountServiceAccountToken: boolean;
    readonly terminationGracePeriodSeconds?: number;
    readonly securityContext: Record<string, unknown>;
    readonly containers: readonly Container[];
  };
}

const manifests = readdirSync(join(deploy, "kubernetes"))
  .filter((file) => file !== "kustomization.yaml")
  .flatMap((file) => parseAllDocuments(read("kubernetes", file)).map((document) => document.toJS() as Manifest));
const workloads = manifests.filter(({ kind }) => kind === "Deployment" || kind === "StatefulSet");
const podOf = (manifest: Manifest) => manifest.spec.template as Pod;

test("dashboard and alerts ask only for metrics that relays and transceivers show", async (t) => {
  const keys = [generateKey(randomBytes)];
  const vad = { open: () => assert.fail("no call here"), close: async () => {} };
  const transceiver = await serveTransceiver({
    host: "127.0.0.1",
    port: 0,
    udpPort: 0,
    advertise: ["127.0.0.1"],
    apiKey: undefined,
    keyRing: createKeyRing(keys),
    serverId: createServerId(0, 1),
    engines: { vad, speech: createParrot({ tts: undefined }) },
    model: "parrot",
    version: "0",
    staticDir: undefined,
    maxCalls: 1,
    log: pino({ level: "silent" }),
  });
  t.after(() => transceiver.close("done"));
  const relay = await serveRelay({
    host: "127.0.0.1",
    port: 0,
    keys,
    directory: { cluster: 0, transceivers: [] },
    metrics: { host: "127.0.0.1", port: 0 },
  });
  t.after(() => relay.close());
  const shown = await Promise.all(
    [`${transceiver.url}/metrics`, `http://127.0.0.1:${relay.metricsPort}/metrics`].map(async (url) =>
      (await fetch(url)).text(),
    ),
  );
  const known = new Set([...shown.join("\n").matchAll(/^# TYPE (\S+)/gm)].map((match) => match[1]!));
  const dashboard = JSON.parse(read("grafana", "sluice.json")) as {
    panels: readonly { targets?: readonly { expr: string }[] }[];
  };
  const alerts = parse(read("prometheus", "alerts.yml")) as { groups: { rules: { expr: string }[] }[] };
  const expressions = [
    ...dashboard.panels.flatMap(({ targets }) => targets ?? []),
    ...alerts.groups.flatMap(({ rules }) => rules),
  ].map(({ expr }) => expr);
  assert.ok(expressions.length > 20);
  for (const expr of expressions) {
    const names = expr
      .replaceAll(/\{[^}]*\}|"[^"]*"|\[[^\]]*\]|\b(by|ignoring|group_left)\s*\([^)]*\)/g, " ")
      .match(/\b[a-z]+_[a-z0-9_]+\b(?!\s*\()/g)
      ?.filter((name) => name !== "histogram_quantile" && name !== "group_left");
    assert.ok(names?.length, expr);
    for (const name of names) assert.ok(known.has(name.replace(/_(bucket|sum|count)$/, "")), `${name} in ${expr}`);
  }
});

test("every setting that deploy/ gives a process is one that it takes", () => {
  const helps = ["start", "relay", "transceiver"].map((command) => help(command)).join("\n");
  const variables = new Set(helps.match(/\bSLUICE_[A-Z_]+\b/g));
  const texts = [
    read("compose.yml"),
    ...readdirSync(join(deploy, "kubernetes")).map((file) => read("kubernetes", file)),
  ];
  const used = new Set(texts.join("\n").match(/\bSLUICE_[A-Z_]+\b/g));
  assert.ok(used.size > 6);
  for (const name of used) assert.ok(variables.has(name), `${name} is no setting`);
});

test("compose names services, volumes and ports that there are", () => {
  const compose = parse(read("compose.yml"), { merge: true }) as {
    services: Record<string, { depends_on?: string[]; volumes?: string[]; command?: string[] }>;
  };
  for (const [name, { depends_on = [], volumes = [] }] of Object.entries(compose.services)) {
    for (const other of depends_on) assert.ok(compose.services[other], `${name} depends on ${other}`);
    for (const volume of volumes) assert.ok(readdirSync(deploy).includes(volume.split(/[/:]/)[1]!), volume);
  }
  const scrape = parse(read("prometheus", "prometheus.yml")) as {
    scrape_configs: { static_configs: { targets: string[] }[] }[];
  };
  for (const target of scrape.scrape_configs.flatMap((job) => job.static_configs.flatMap(({ targets }) => targets))) {
    assert.ok(compose.services[target.split(":")[0]!], target);
  }
});

test("the image is of known steps, and has every native addon where its loader looks, built for its C library", () => {
  const steps = read("Dockerfile")
    .split("\n")
    .filter((line) => line.trim() !== "" && !line.startsWith("#"))
    .map((line) => line.split(" "));
  const stages: { readonly image: string; readonly name: string | undefined }[] = [];
  const copied: string[] = [];
  for (const [step, ...words] of steps) {
    assert.match(step!, /^(FROM|WORKDIR|COPY|RUN|USER|ENV|ENTRYPOINT|CMD)$/);
    if (step === "FROM") stages.push({ image: words[0]!, name: words[1] === "AS" ? words[2] : undefined });
    const from = step === "COPY" && words.find((word) => word.startsWith("--from="))?.slice("--from=".length);
    if (!from) continue;
    assert.ok(
      stages.slice(0, -1).some(({ name }) => name === from),
      `no stage ${from} before`,
    );
    if (from === "native") copied.push(words.slice(1).join(" "));
  }
  const root = join(deploy, "..");
  const addons = readFileSync(join(root, "native", "build.mjs"), "utf8").matchAll(
    /crate: "sluice-(\w+)",\s+file: "(\S+)",\s+folder: "(\w+)"/g,
  );
  const wanted = [...addons].map(
    ([, crate, file, folder]) => `/native/target/release/libsluice_${crate}.so packages/${folder}/native/${file}`,
  );
  assert.equal(wanted.length, 3);
  assert.deepEqual(copied.sort(), wanted.sort());
  const systems = stages.map(({ image }) => /-slim-(\w+)$|-(\w+)-slim$/.exec(image)?.slice(1).find(Boolean));
  assert.deepEqual(new Set(systems), new Set(["trixie"]));
  const release = readFileSync(join(root, ".github", "workflows", "release.yml"), "utf8");
  const compilers = [...`${stages[0]!.image} ${release}`.matchAll(/rust:(\d+\.\d+)/g)].map(([, version]) => version);
  assert.equal(new Set(compilers).size, 1, "the image and the release are of one compiler");
});

test("the release builds, loads and publishes an addon package for every platform", () => {
  const { jobs } = parse(readFileSync(join(deploy, "..", ".github", "workflows", "release.yml"), "utf8")) as {
    jobs: Record<string, { strategy?: { matrix: { include: Record<string, string>[] } }; steps: { run?: string }[] }>;
  };
  const platforms = Object.values(jobs).flatMap(({ strategy }) => strategy?.matrix.include ?? []);
  const names = platforms.map(({ os = "linux", arch, libc }) => [os, arch, libc].filter(Boolean).join("-"));
  assert.equal(new Set(names).size, 7);
  for (const job of ["linux", "others"]) {
    const commands = jobs[job]!.steps.map(({ run }) => run ?? "").join("\n");
    assert.match(commands, /cargo build --release --locked --workspace/);
    assert.match(commands, /node native\/package\.mjs native\/target\/release /);
    assert.match(commands, /node \/?native\/load\.mjs \/?native\/npm\/native-/);
  }
  assert.match(
    jobs.publish!.steps.map(({ run }) => run ?? "").join("\n"),
    /native\/package\.mjs pin[\s\S]*npm publish/,
  );
});

test("every pod runs as nobody, writes nowhere, asks for what it needs, and knows no API server", () => {
  assert.deepEqual(workloads.map(({ metadata }) => metadata.name).sort(), ["redis", "relay", "transceiver"]);
  for (const workload of workloads) {
    const { spec } = podOf(workload);
    const name = workload.metadata.name;
    const account = manifests.find(
      (one) => one.kind === "ServiceAccount" && one.metadata.name === spec.serviceAccountName,
    );
    assert.equal(account?.automountServiceAccountToken, false, name);
    assert.equal(spec.automountServiceAccountToken, false, name);
    assert.equal(spec.securityContext.runAsNonRoot, true, name);
    assert.deepEqual(spec.securityContext.seccompProfile, { type: "RuntimeDefault" }, name);
    for (const container of spec.containers) {
      const { resources, securityContext } = container;
      assert.ok(resources.requests.cpu && resources.requests.memory && resources.limits.memory, name);
      assert.equal(securityContext.allowPrivilegeEscalation, false, name);
      assert.equal(securityContext.readOnlyRootFilesystem, true, name);
      assert.deepEqual(securityContext.capabilities, { drop: ["ALL"] }, name);
      for (const probe of ["startupProbe", "readinessProbe", "livenessProbe"] as const)
        assert.ok(container[probe], name);
    }
  }
});

test("liveness asks less than readiness, and a pod has time to let its calls end", () => {
  for (const [name, most] of [
    ["relay", 120],
    ["transceiver", 3600],
  ] as const) {
    const { spec } = podOf(workloads.find(({ metadata }) => metadata.name === name)!);
    const [container] = spec.containers;
    assert.equal(container!.livenessProbe?.httpGet?.path, "/healthz");
    assert.equal(container!.readinessProbe?.httpGet?.path, "/readyz");
    const grace = Number(container!.env?.find((one) => one.name === "SLUICE_GRACE")?.value);
    assert.equal(grace, most);
    assert.ok(spec.terminationGracePeriodSeconds! > grace, name);
  }
});

test("services, budgets, scalers and policies point at pods and ports that there are", () => {
  const pods = workloads.map(podOf);
  const selects = (labels: Record<string, string>) =>
    pods.filter(({ metadata }) => Object.entries(labels).every(([key, value]) => metadata.labels[key] === value));
  const seen = { Service: 0, PodDisruptionBudget: 0, HorizontalPodAutoscaler: 0, NetworkPolicy: 0 };
  for (const { kind, metadata, spec } of manifests) {
    if (kind in seen) seen[kind as keyof typeof seen] += 1;
    if (kind === "Service") {
      const [pod] = selects(spec.selector as Record<string, string>);
      for (const { targetPort } of spec.ports as { targetPort: string }[]) {
        assert.ok(
          pod?.spec.containers[0]?.ports.some(({ name }) => name === targetPort),
          `${metadata.name} ${targetPort}`,
        );
      }
    }
    if (kind === "PodDisruptionBudget") {
      assert.equal(selects((spec.selector as { matchLabels: Record<string, string> }).matchLabels).length, 1);
    }
    if (kind === "HorizontalPodAutoscaler") {
      const target = spec.scaleTargetRef as { kind: string; name: string };
      assert.ok(workloads.some((one) => one.kind === target.kind && one.metadata.name === target.name));
      const { scaleDown } = spec.behavior as { scaleDown: { stabilizationWindowSeconds: number } };
      assert.ok(scaleDown.stabilizationWindowSeconds >= 600);
    }
    if (kind === "NetworkPolicy") {
      assert.equal(selects((spec.podSelector as { matchLabels: Record<string, string> }).matchLabels).length, 1);
      for (const rule of (spec.egress ?? []) as { to?: { ipBlock?: { except?: string[] } }[] }[]) {
        for (const { ipBlock } of rule.to ?? []) if (ipBlock) assert.ok(ipBlock.except?.includes("169.254.0.0/16"));
      }
    }
  }
  assert.deepEqual(seen, { Service: 3, PodDisruptionBudget: 2, HorizontalPodAutoscaler: 2, NetworkPolicy: 3 });
  const relay = manifests.find(({ metadata, kind }) => kind === "Service" && metadata.name === "relay-udp");
  assert.equal(relay?.spec.externalTrafficPolicy, "Local");
});
