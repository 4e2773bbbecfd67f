/** What the relay's main thread and its workers say to each other. */
import type { KeyConfig, ServerId } from "@sluice/routing";
import type { UdpMode } from "@sluice/udp";
import type { DirectoryOptions, Transceiver } from "../directory.ts";
import type { FlowTableOptions } from "../flow-table.ts";
import type { FlowRecord } from "../forwarder.ts";
import type { RelayStats } from "../stats.ts";

/** What a worker is started with. */
export interface WorkerSetup {
  readonly host: string;
  readonly port: number;
  /** Port towards transceivers; 0 takes any. */
  readonly upstreamPort: number;
  /** Shares the port with other workers. */
  readonly reusePort: boolean;
  readonly keys: readonly KeyConfig[];
  readonly directory: DirectoryOptions;
  readonly admission: { readonly packetsPerSecond?: number; readonly burst?: number; readonly seed: number };
  readonly flows: FlowTableOptions | undefined;
  readonly hopTag: boolean;
  /** Whether there is a cache to ask. */
  readonly cache: boolean;
  readonly udp: UdpMode | undefined;
}

/** The client address of a lookup. */
export interface LookupAddress {
  readonly address: string;
  readonly port: number;
  readonly entryRelay: number;
}

/** Main thread to worker. */
export type ToWorker =
  | { readonly kind: "registrations"; readonly transceivers: readonly Transceiver[] }
  | { readonly kind: "registryLost" }
  | { readonly kind: "replica"; readonly record: FlowRecord }
  | { readonly kind: "found"; readonly lookup: LookupAddress; readonly serverId: ServerId | undefined }
  | { readonly kind: "report" }
  | { readonly kind: "records" }
  | { readonly kind: "close" };

/** Worker to main thread. */
export type FromWorker =
  | { readonly kind: "listening"; readonly port: number; readonly batches: boolean }
  | { readonly kind: "failed"; readonly message: string }
  | { readonly kind: "upstreamPortTaken"; readonly port: number }
  | { readonly kind: "closed" }
  | { readonly kind: "lookUp"; readonly lookup: LookupAddress }
  | { readonly kind: "remember"; readonly address: string; readonly port: number; readonly serverId: ServerId }
  | { readonly kind: "replicate"; readonly record: FlowRecord }
  | { readonly kind: "records"; readonly records: readonly FlowRecord[] }
  | { readonly kind: "report"; readonly report: WorkerReport };

/** A worker's numbers. */
export interface WorkerReport {
  readonly stats: RelayStats;
  readonly confirmed: number;
  readonly tentative: number;
  readonly lookups: number;
  /** Datagrams that the kernel would not take. */
  readonly sendErrors: number;
  /** 99th percentile since the last report. */
  readonly eventLoopLagMs: number;
}
