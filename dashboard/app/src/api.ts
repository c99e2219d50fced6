// What the daemon answers, as far as the page shows it. docs/openapi.json has all of it.

export type Verdict = "pass" | "fail" | "inconclusive" | "nodata" | "error" | "skipped";

/** sign stands before a verdict, as everywhere in devloop. */
export const sign: Record<Verdict, string> = { pass: "✓", fail: "✗", inconclusive: "?", nodata: "∅", error: "!", skipped: "-" };

export interface Scope {
  db?: string;
  snapshot_id?: string;
  start?: number;
  end?: number;
}

export interface Reading {
  db: string;
  start_ts: number;
  end_ts: number;
  rewritten?: string;
  warnings?: string[];
  incomplete?: string;
  why?: string;
}

export interface End {
  ip: string;
  port: number;
  pod?: string;
  ns?: string;
  svc?: string;
}

export interface Line {
  id: string;
  ts: number;
  src: End;
  dst: End;
  proto: string;
  method: string;
  path: string;
  status: number;
  latency_ms: number;
  state?: string;
  error?: string;
  result: string;
  failed?: boolean;
  retry?: { attempt: number; attempts: number };
}

export interface Calls extends Reading {
  calls: Line[];
  total: number;
  total_is_least?: boolean;
  truncated: boolean;
  cursor?: string;
}

export interface Packets {
  first: number;
  last: number;
}

export interface Entry extends Line {
  conn_id: number;
  node_id: string;
  flow_id: number;
  query?: string;
  host?: string;
  req_headers: Record<string, string>;
  resp_headers: Record<string, string>;
  req_size: number;
  resp_size: number;
  ttfb_ms?: number;
  truncated?: boolean;
  src_build?: string;
  dst_build?: string;
  src_process?: string;
  dst_process?: string;
  revision?: string;
  iteration?: string;
  trace_id?: string;
  parent?: string;
  parent_by?: string;
  parent_candidates?: number;
  self_ms?: number;
  route?: string;
  background?: boolean;
  capture_point?: string;
  capture_source?: string;
  req_packets: Packets;
  resp_packets: Packets;
  credentials?: { kind: string; place: string; hash: string }[];
  grpc?: Record<string, unknown>;
  dns?: Record<string, unknown>;
  tls?: Record<string, unknown>;
  postgresql?: Record<string, unknown>;
  redis?: Record<string, unknown>;
  ws?: Record<string, unknown>;
  gql?: Record<string, unknown>;
}

export interface View {
  point: string;
  interface?: string;
  node?: string;
  src: string;
  dst: string;
  packets: number;
  handshake_ns?: number;
}

export interface Connection {
  conn_id: number;
  proto: string;
  state: string;
  start_ns: number;
  end_ns: number;
  calls: number;
  window_calls: number;
  reset_by?: string;
  client_packets: number;
  server_packets: number;
  client_bytes: number;
  server_bytes: number;
  missing_bytes: number;
  undecoded_bytes: number;
  lost_packets: number;
  packets: Packets;
  handshake_client_ns?: number;
  handshake_server_ns?: number;
  connect_ns?: number;
  syn_retransmits: number;
  tcp_metrics?: Record<string, number>;
  views?: View[];
  points?: string[];
}

export interface Call extends Reading {
  entry: Entry;
  result?: string;
  failed?: boolean;
  req_body?: string;
  resp_body?: string;
  truncated: boolean;
  connection?: Connection;
  pcap?: string;
}

export interface Stats {
  group?: string;
  total_calls: number;
  errors: number;
  error_rate: number;
  statuses?: Record<string, number>;
  p50_ms: number;
  p90_ms: number;
  p99_ms: number;
  max_ms: number;
  calls_per_second: number;
  tcp_handshake_p50_us?: number;
  tcp_handshake_p90_us?: number;
  tcp_handshake_p99_us?: number;
  example?: string;
}

export interface StatsAnswer extends Reading {
  totals: Stats;
  stats: Stats[];
  buckets?: ({ ts: number } & Stats)[];
}

export interface Node {
  name: string;
  namespace?: string;
  kind: string;
  calls_in: number;
  calls_out: number;
  protocols: string[];
}

export interface Edge extends Stats {
  src: string;
  dst: string;
  protocols: string[];
  endpoints?: string[];
  connections: number;
  bytes: number;
}

export interface ServiceMap extends Reading {
  nodes: Node[];
  edges: Edge[];
}

export interface TraceNode {
  call: string;
  src: string;
  service: string;
  proto: string;
  method: string;
  path: string;
  route?: string;
  status: number;
  state: string;
  error?: string;
  failed?: boolean;
  start_ms: number;
  latency_ms: number;
  self_ms: number;
  attempt?: number;
  depth: number;
  parent_by?: string;
  parent_candidates?: number;
  critical: boolean;
  asked?: boolean;
  children?: TraceNode[];
}

export interface Tree extends Reading {
  root: TraceNode | null;
  omitted?: number;
  spent: { service: string; what: string; ms: number; share: number; network_ms?: number; call: string }[];
  gave_up_first?: string;
  guessed: number;
}

export interface Plot {
  term: string;
  unit?: string;
  from: number;
  to: number;
  log?: boolean;
  bins?: number[];
  value: number;
  low?: number;
  high?: number;
  confidence?: boolean;
  bounds?: { operator: string; value: number }[];
}

export interface Evidence {
  call?: string;
  conn_id: number;
  packets: Packets;
  summary: string;
}

export interface Check {
  name: string;
  file?: string;
  line?: number;
  builtin?: boolean;
  group?: string;
  on: string;
  expect: string;
  severity: string;
  verdict: Verdict;
  reason: string;
  n: number;
  unit?: string;
  terms?: { text: string; value: string; low?: string; high?: string; n: number; exact?: boolean }[];
  evidence?: Evidence[];
  evidence_total?: number;
  loss?: string;
  vacuous?: string[];
  basis?: string;
  need_more?: number;
  plots?: Plot[];
}

export interface Finding {
  kind: string;
  where: string;
  what: string;
  verdict: Verdict;
  old?: string;
  new?: string;
  effect?: number;
  low?: number;
  high?: number;
  p?: number;
  old_n: number;
  new_n: number;
  basis?: string;
  improvement?: boolean;
}

export interface Phase {
  phase: string;
  ns: number;
  detail?: string;
}

export interface Account {
  source?: string;
  packets: number;
  bytes: number;
  decoded: number;
  dropped: number;
  missing_bytes: number;
  undecoded_bytes: number;
  malformed?: Record<string, number>;
  ignored?: Record<string, number>;
  given_up?: Record<string, number>;
  one_point?: number;
  joined?: number;
  interfaces?: { name: string }[];
}

export interface Iteration {
  id: string;
  revision: string;
  changed?: string[];
  trigger: string;
  files?: string[];
  phase: string;
  state: string;
  verdict?: Verdict;
  checks?: Check[];
  wire_diff?: { since: string; revision: string; findings?: Finding[]; total: number; unchanged?: number; note?: string };
  failure?: { phase: string; service?: string; what: string; output?: string; hint?: string };
  exercise?: { name: string; exit_code: number; steps: { step: string; sent?: number; errors?: number; status?: Record<string, number>; exit_code: number; output?: string; ns: number }[] };
  snapshot?: string;
  account?: Account;
  calls: number;
  ledger: Phase[];
  started_ns: number;
  ended_ns?: number;
  source: string;
  warnings?: string[];
}

export interface IterationInfo {
  id: string;
  revision: string;
  changed?: string[];
  trigger: string;
  files?: string[];
  phase: string;
  state: string;
  verdict?: Verdict;
  verdicts: Partial<Record<Verdict, number>>;
  failing?: string[];
  failure?: string;
  wire_changes?: number;
  snapshot?: string;
  calls: number;
  ledger: Phase[];
  started_ns: number;
  ended_ns?: number;
}

export interface Iterations {
  iterations: IterationInfo[];
  total: number;
}

export interface ServiceStatus {
  name: string;
  kind: string;
  state: string;
  build?: string;
  pid?: number;
  ip?: string;
  pods?: string[];
  ports?: Record<string, number>;
  outside?: boolean;
  stand_in?: boolean;
  detail?: string;
}

export interface Status {
  version: string;
  workspace: string;
  running: boolean;
  environment: string;
  mode?: string;
  source?: string;
  source_why?: string;
  services: ServiceStatus[];
  revision?: string;
  phase: string;
  stale?: string[];
  last?: Iteration;
  current?: Iteration;
  warnings?: string[];
}

export interface Capture {
  environment: string;
  state: string;
  source?: string;
  why?: string;
  targets?: Record<string, unknown>;
  services?: string[];
  targeted_namespaces?: string[];
  targeted_pods?: string[];
  nodes?: { name: string; ok: boolean; problem?: string; source?: string; degraded?: string; packets: number; dropped: number; rss_bytes: number; cpu_seconds: number; segments: number; ring_bytes: number; ring_limit_bytes: number }[];
  warnings?: string[];
  next: string;
}

export interface Kept {
  state: string;
  why?: string;
  calls: number;
  connections: number;
  size_bytes: number;
  max_bytes: number;
  max_age: string;
  forgotten: number;
  delay_ms: number;
}

export interface Databases {
  databases: { type: string; db: string; snapshot?: string; name?: string; status: string; entry_count: number; first_ts: number; last_ts: number }[];
}

export interface Snapshot {
  id: string;
  status: string;
  progress: number;
  error?: string;
  size_bytes: number;
  created_at: number;
  duration: string;
  packet_count: number;
  nodes?: string[];
  source?: string;
  iteration?: string;
  revision?: string;
  exercise?: string;
  dissections: string[] | null;
}

export interface Snapshots {
  snapshots: Snapshot[];
  total: number;
  total_size_bytes: number;
  max_size_bytes: number;
  max_age: string;
}

export interface Baselines {
  baselines: { name: string; file: string; exercise?: string; commit?: string; recorded?: string; runs: number; endpoints: number; edges: number; problem?: string }[] | null;
}

export interface BaselineAnswer {
  name: string;
  iterations: string[];
  report?: { findings?: Finding[] | null } & Record<string, unknown>;
  warnings?: string[];
  next?: string;
}

export interface Side extends Reading {
  total_calls: number;
  errors: number;
  error_rate: number;
  seconds: number;
}

export interface Comparison {
  a: Side;
  b: Side;
  findings: string[];
  endpoints: {
    endpoint: string;
    change: string;
    calls: [number, number];
    errors: [number, number];
    p50_ms: [number, number];
    p99_ms: [number, number];
    shift?: { ms: number; low_ms: number; high_ms: number; p: number };
    needs?: number;
    example?: string;
  }[];
  new_edges: { src: string; dst: string; proto: string; calls: number; outside?: boolean }[];
  lost_edges: { src: string; dst: string; proto: string; calls: number; outside?: boolean }[];
  fields: { endpoint: string; place: string; name: string; change: string; present: [number, number]; of: [number, number] }[];
  basis: string;
}
