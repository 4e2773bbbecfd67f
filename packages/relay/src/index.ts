/** The stateless UDP relay. */
export type { AdmissionOptions } from "./admission.ts";
export { Directory, type DirectoryOptions, type Milli, type RelayPeer, type Transceiver } from "./directory.ts";
export type { FlowTableOptions } from "./flow-table.ts";
export { type FlowRecord, type Forward, Forwarder, type ForwarderOptions, type RelayCommand } from "./forwarder.ts";
export type { LookupsOptions } from "./lookups.ts";
export type { WorkerReport } from "./node/protocol.ts";
export { type RelayOptions, type RelayServer, serveRelay } from "./node/serve.ts";
export { DROP_REASONS, type DropReason, type RelayStats } from "./stats.ts";
