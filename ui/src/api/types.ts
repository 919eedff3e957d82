// The shapes of the operator API, field for field. Instants (`*_at`) are RFC 3339 UTC, durations `*_ms`, sizes `*_bytes`.

export const RUN_STATES = [
  "queued",
  "delivered",
  "running",
  "succeeded",
  "failed",
  "timed_out",
  "cancelled",
  "expired",
  "refused",
  "interrupted",
] as const;
export type RunState = (typeof RUN_STATES)[number];

export const PRESENCES = ["online", "offline", "stale"] as const;
export type Presence = (typeof PRESENCES)[number];

export const DEVICE_STATUSES = ["active", "quarantined", "revoked", "decommissioned"] as const;
export type DeviceStatus = (typeof DEVICE_STATUSES)[number];

export const DEVICE_CHANGES = ["quarantine", "release", "revoke", "decommission"] as const;
export type DeviceChange = (typeof DEVICE_CHANGES)[number];

export const APPROVAL_STATES = ["pending", "approved", "denied", "expired", "completed"] as const;
export type ApprovalState = (typeof APPROVAL_STATES)[number];

export const CODE_STATES = ["active", "used", "expired", "revoked"] as const;
export type CodeState = (typeof CODE_STATES)[number];

export const LANGUAGES = ["sh", "bash", "python", "powershell", "batch"] as const;
export type Language = (typeof LANGUAGES)[number];

export type RunContext = "SYSTEM" | "CURRENTUSER";

export interface Session {
  session_id: string;
  operator: string;
  username: string;
  expires_at: string;
  rights: string[];
  sites: string[];
  /** The same, right by right. */
  reach: RightOnSites[];
  second_factor: boolean;
  recovery_codes_left: number;
  /** How many passkeys the operator has. */
  passkeys: number;
}

/** A key in an authenticator, with which its owner logs in. */
export interface Passkey {
  id: string;
  name: string;
  /** The name of the server that it is for. */
  host: string;
  created_at: string;
  last_used_at: string | null;
}

/** A right with the sites that it reaches; `*` for all. */
export interface RightOnSites {
  right: string;
  sites: string[];
  /** How many devices a job there may have without another operator's approval; nothing without a limit. */
  max_devices?: number | null;
}

export const USER_STATES = ["invited", "active", "disabled", "deleted"] as const;
export type UserState = (typeof USER_STATES)[number];

export interface User {
  id: string;
  username: string;
  roles: string[];
  state: UserState;
  created_at: string;
  /** Null for the first operator. */
  created_by: string | null;
  last_login_at: string | null;
  /** Until when the operator's link works, while there is one. */
  link_expires_at: string | null;
  second_factor: boolean;
  passkeys: number;
}

export interface Role {
  name: string;
  description: string;
  rights: RightOnSites[];
  /** On how many devices a job may be without another operator's approval; null without a limit. */
  max_devices: number | null;
  /** Whether it can be changed: a fixed one cannot. */
  fixed: boolean;
  users: number;
}

export interface Site {
  name: string;
  description: string;
  /** Null for the one that every deployment has. */
  created_at: string | null;
}

export interface LiveSession {
  id: string;
  operator: string;
  username: string;
  peer: string;
  started_at: string;
  last_seen_at: string;
  expires_at: string;
  current: boolean;
}

export const TOKEN_STATES = ["active", "revoked", "expired"] as const;
export type TokenState = (typeof TOKEN_STATES)[number];

export interface ApiToken {
  id: string;
  name: string;
  author: string;
  username: string;
  key_fingerprint: string;
  rights: RightOnSites[];
  /** The devices that it is for; null where it is for all that its sites have. */
  devices: string[] | null;
  created_at: string;
  expires_at: string;
  state: TokenState;
}

export interface TokenRequest {
  name: string;
  rights: RightOnSites[];
  devices: string[] | null;
  lifetime_ms: number;
}

export interface AuditActor {
  kind: "operator" | "device" | "service" | "anonymous";
  id: string | null;
  name: string | null;
}

/** One act, and where its record stands: the service that keeps it and the position in that service's log. */
export interface AuditEntry {
  service: string;
  position: number;
  at: string;
  actor: AuditActor;
  session: string | null;
  grant: string | null;
  address: string | null;
  via: string | null;
  action: string;
  verb: string;
  objects: string[];
  /** `accepted`, or the code of the refusal. */
  outcome: string;
  correlation: string;
  command: string | null;
  /** How many refusals like this one came besides and are not kept singly. */
  more: number;
}

export interface AuditPage extends Page<AuditEntry> {
  cursor: string;
  /** The services that did not answer. */
  missing: string[];
}

/** What was checked of one service's log; goes on at `position` and `hash` until `end`. */
export interface AuditPiece {
  service: string;
  position: number;
  hash: string;
  checked: number;
  dropped: number;
  end: boolean;
  finding: { position: number; what: string } | null;
  countersigned: { position: number; hash: string; at: string } | null;
  countersigned_error: string | null;
}

/** What an operator has besides the password. */
export interface FactorStanding {
  second_factor: boolean;
  recovery_codes_left: number;
}

export interface InstallerCode {
  id: string;
  masked: string;
  site: string;
  uses: number;
  uses_left: number;
  auto_approve: boolean;
  created_at: string;
  created_by: string | null;
  expires_at: string;
  state: CodeState;
}

export interface MintedCode extends InstallerCode {
  /** The whole code: made in this browser, and known to nobody else. */
  code: string;
}

/** What the server answers: it knows the code's public key only. */
export interface MintAnswer extends InstallerCode {
  /** SHA-256 of the deployment's CA certificate, which stands in the code. */
  ca_sha256: string;
}

export interface MintRequest {
  site: string;
  uses: number;
  lifetime_ms: number;
  auto_approve: boolean;
}

export const CONFLICT_KINDS = ["known_machine", "shut_out_machine", "revoked_device", "other_site", "same_hostname"] as const;
export type ConflictKind = (typeof CONFLICT_KINDS)[number];

/** What stands in a site that the operator may not see is null. */
export interface Conflict {
  kind: ConflictKind;
  guid: string | null;
  hostname: string | null;
  site: string | null;
}

/** What becomes of a device that is known for the same machine under another key. */
export type Resolution = "overwrite" | "co_exist";

export interface Approval {
  id: string;
  hostname: string;
  site: string;
  os: string | null;
  arch: string | null;
  agent_version: string | null;
  context: string | null;
  address: string | null;
  fingerprint: string;
  words: string | string[] | null;
  code_id: string | null;
  requested_at: string;
  expires_at: string | null;
  state: ApprovalState;
  reason: string | null;
  conflicts: Conflict[];
}

export interface Device {
  guid: string;
  hostname: string;
  site: string;
  status: DeviceStatus;
  /** Why it has this status; null while nobody changed it. */
  status_reason: string | null;
  /** Null where the server changed it by itself. */
  status_by: string | null;
  status_at: string | null;
  /** By which operators group it, in order. */
  tags: string[];
  presence: Presence;
  /** `linux` or `windows`. */
  os: string | null;
  /** The system's name and version. */
  os_version: string | null;
  arch: string | null;
  agent_version: string | null;
  context: string | null;
  fingerprint: string | null;
  addresses: string[];
  last_user: string | null;
  uptime_ms: number | null;
  cpu: string | null;
  memory_bytes: number | null;
  approved_at: string | null;
  first_seen_at: string | null;
  last_seen_at: string | null;
}

/** What a device is after its status was changed. */
export type DeviceStanding = Pick<
  Device,
  "guid" | "hostname" | "site" | "status" | "status_reason" | "status_by" | "status_at"
>;

/** What tags a device has after they were changed. */
export type DeviceTags = Pick<Device, "guid" | "hostname" | "tags">;

export interface DeviceDetail extends Device {
  /** What the agent told about the machine; its text is never trusted. */
  facts: Record<string, unknown> | null;
  facts_at: string | null;
}

export interface Page<T> {
  items: T[];
  next_cursor: string | null;
}

export interface CountedPage<T> extends Page<T> {
  total?: number;
}

export interface Job {
  job: string;
  created_at: string;
  created_by: string | null;
  role: string;
  verb: string;
  language: Language | null;
  context: RunContext | null;
  script_digest: string | null;
  timeout_ms: number | null;
  expires_at: string | null;
  runs_total: number;
  counts: Partial<Record<RunState, number>>;
  state: "awaiting_approval" | "active" | "paused" | "done";
  cancelled: boolean;
  /** Who approved it, where it took another operator's approval and has it. */
  approved_by?: string;
  /** The schedule that made it, where one did. */
  schedule?: string;
  /** When it was due by that schedule; nothing where an operator let it run at once. */
  due?: string;
  /** Where its waves stand, where it has any. */
  waves?: Waves;
}

/** Where the waves of a job stand. */
export interface Waves {
  /** Which began last, counted from 1. */
  wave: number;
  waves_total: number;
  /** On how many devices those are that have begun. */
  devices: number;
  /** How many failed since the job was made or continued. */
  failures: number;
  /** How many may: "3" or "5%". */
  brake: string | null;
  state: "running" | "paused" | "braked";
  next_at: string | null;
  /** What it waits for, in a sentence. */
  reason: string | null;
}

/** What somebody asked for: the author's request, byte by byte. */
export interface AskedRequest {
  created_by: string;
  method: string;
  path: string;
  body_base64: string;
}

/** What a job asks for that takes another operator's approval. */
export interface AskedJob extends AskedRequest {
  job: string;
}

export interface Run {
  run: string;
  job: string;
  guid: string;
  hostname: string;
  state: RunState;
  attempt: number | null;
  exit_code: number | null;
  queued_at: string | null;
  delivered_at: string | null;
  started_at: string | null;
  ended_at: string | null;
  duration_ms: number | null;
  reason: string | null;
  /** The code of a refusal. */
  code: string | null;
  truncated: boolean;
  stdout_bytes: number | null;
  stderr_bytes: number | null;
}

/** The runs of a job that ended alike and printed the same. */
export interface OutputGroup {
  runs: number;
  state: RunState;
  exit_code: number | null;
  /** The code of a refusal. */
  code: string | null;
  /** SHA-256 of what they printed; null for nothing. */
  stdout: string | null;
  stderr: string | null;
  stdout_bytes: number;
  stderr_bytes: number;
  truncated: boolean;
  /** One of them: what it printed all of them did. */
  run: string;
  /** The names of some of their devices. */
  hostnames: string[];
}

export interface OutputGroups extends Page<OutputGroup> {
  /** How many runs are not over. */
  open: number;
  /** How many are over whose output is still being digested. */
  pending: number;
  /** How many are over whose output cannot be read. */
  unreadable: number;
  groups_total: number;
}

/** Names the devices of a job: by themselves, by their sites, or all; a filter picks among the latter two. */
export interface JobTargets {
  all: boolean;
  guids: string[];
  sites?: string[];
  filter?: string;
  /** None of these, whatever else names them. */
  except?: string[];
}

export interface JobRequest {
  targets: JobTargets;
  role: "script" | "agent";
  verb: "run" | "ping";
  language?: Language;
  context?: RunContext;
  script?: string;
  /** In place of language, script and environment. */
  assembly?: AssemblyUse;
  args?: string[];
  env?: Record<string, string>;
  timeout_ms?: number;
  expires_in_ms?: number;
  /** How often a run is tried again whose script failed or whose time was over. */
  retries?: number;
  /** How long it waits before the first of these; doubled for each after it. */
  backoff_ms?: number;
}

/** A code, and why in a sentence. */
export interface Unable {
  code: string;
  reason: string;
}

/** A device on which a job would be; null is what is not known. */
export interface AimedDevice {
  guid: string;
  hostname: string;
  site: string | null;
  online: boolean;
  unable: Unable | null;
}

/** On which devices a job would be, those that cannot run it first. */
export interface JobPreview extends Page<AimedDevice> {
  devices_total: number;
  online: number;
  unable: number;
  awaiting_approval: boolean;
  /** Why it would be refused as a whole. */
  refused: Unable | null;
}

export const SCHEDULE_STATES = ["active", "paused", "stopped", "ended", "archived"] as const;
export type ScheduleState = (typeof SCHEDULE_STATES)[number];

/** What becomes of firings whose time passed while nobody could run them. */
export const MISFIRES = ["once", "skip", "all"] as const;
export type Misfire = (typeof MISFIRES)[number];

/** What happens when a firing is due while one before it still runs. */
export const CONCURRENCIES = ["allow", "forbid", "queue", "replace"] as const;
export type Concurrency = (typeof CONCURRENCIES)[number];

/** When a schedule is due: cron text or a kind, in a zone, from a start until an end. */
export interface ScheduleRule {
  cron?: string;
  kind?: string;
  zone: string;
  start?: string;
  end?: string;
}

export interface ScheduleRequest extends ScheduleRule {
  name: string;
  job: JobRequest;
  misfire: Misfire;
  misfire_most?: number;
  late_limit_ms?: number;
  concurrency: Concurrency;
  jitter_ms: number;
}

export interface Schedule {
  schedule: string;
  name: string;
  created_at: string;
  created_by: string;
  state: ScheduleState;
  /** Why it stopped, in a sentence. */
  reason: string | null;
  code: string | null;
  /** A kind, or `cron:` and the text. */
  follows: string;
  zone: string;
  start: string;
  end: string | null;
  misfire: Misfire;
  /** How many late firings run at most, where they run one by one. */
  misfire_most: number;
  /** How late a firing may be and still run; nothing for however late. */
  late_limit_ms: number | null;
  concurrency: Concurrency;
  /** Its own delay behind the times of the schedule. */
  delay_ms: number;
  role: string;
  verb: string;
  language: Language | null;
  context: RunContext | null;
  timeout_ms: number;
  expires_in_ms: number;
  /** The devices that it names; none where they are found at each firing. */
  guids: string[];
  next_at: string | null;
  /** That, as the clock of its zone shows it. */
  next_local: string | null;
  /** Instants that are left out because an operator said so. */
  skips: string[];
  /** When a firing was due that waits for the one before. */
  queued: string | null;
  fired: number;
  not_run: number;
  last_job: string | null;
  last_at: string | null;
}

/** What a schedule asks for, as its author signed it. */
export interface AskedSchedule extends AskedRequest {
  schedule: string;
}

/** One line of a schedule's history: what became of a firing, or what an operator did. */
export interface ScheduleHistory {
  at: string;
  what: string;
  due: string | null;
  count: number;
  reason: string | null;
  note: string | null;
  code: string | null;
  by: string | null;
  job: string | null;
  devices: number | null;
}

export interface ScheduleFiring {
  at: string;
  /** What the clock of the zone shows then, with its offset. */
  local: string;
  change: string | null;
  /** What a change of the clock has to do with it. */
  note: string | null;
}

export interface SchedulePreview {
  schedule: string;
  zone: string;
  zones_release: string;
  from: string;
  until: string | null;
  items: ScheduleFiring[];
  more: boolean;
}

export const VARIABLE_TYPES = ["string", "number", "boolean", "choice", "credential"] as const;
export type VariableType = (typeof VARIABLE_TYPES)[number];

/** A variable that an assembly takes. */
export interface Variable {
  name: string;
  label: string;
  type: VariableType;
  default: string;
  required: boolean;
  choices: string[];
  description: string;
}

export interface AssemblyFile {
  name: string;
  size_bytes: number;
  mime_type: string;
  digest: string;
}

/** What a version of an assembly holds; it never changes. */
export interface Assembly {
  name: string;
  description: string;
  category: string;
  type: Language;
  script: string;
  variables: Variable[];
  files: AssemblyFile[];
  timeout_ms: number;
  /** Null where it is for all. */
  sites: string[] | null;
  tags: string[];
}

/** What an operator writes of a version; its files are named by their digests. */
export type AssemblyDraft = Omit<Assembly, "files"> & { files: Pick<AssemblyFile, "name" | "mime_type" | "digest">[] };

/** An assembly as lists show it: its newest version, and where it stands. */
export interface AssemblyStanding {
  assembly: string;
  name: string;
  description: string;
  category: string;
  type: Language;
  sites: string[] | null;
  tags: string[];
  latest: number;
  latest_digest: string;
  /** The version that runs unless another is named; null before the first was published. */
  published: number | null;
  published_digest: string | null;
  archived: boolean;
  created_at: string;
  created_by: string;
  updated_at: string;
  updated_by: string;
}

export interface AssemblyVersion {
  version: number;
  digest: string;
  state: "draft" | "published";
  author: string;
  at: string;
  note: string;
  published_by: string | null;
  published_at: string | null;
}

export interface AssemblyShown {
  standing: AssemblyStanding;
  version: AssemblyVersion;
  content: Assembly;
  versions: AssemblyVersion[];
}

export interface AssemblyDiff {
  assembly: string;
  from: number;
  to: number;
  fields: { field: string; from: unknown; to: unknown }[];
  /** A unified diff; empty where the script does not differ. */
  script: string;
}

/** Names a version of an assembly, by what whoever asks has seen of it. */
export interface AssemblyUse {
  assembly: string;
  version: number;
  digest: string;
  variables?: Record<string, string>;
}

export type StreamName = "stdout" | "stderr";

/** One line of followed output: a chunk, or (`final`) the end of a run with its whole output. */
export interface OutputLine {
  job: string;
  run: string;
  guid: string;
  hostname: string;
  stream?: StreamName;
  seq?: number;
  data?: string;
  data_base64?: string;
  final?: boolean;
  state?: RunState;
  exit_code?: number | null;
  stdout?: string;
  stderr?: string;
  stdout_base64?: string;
  stderr_base64?: string;
  duration_ms?: number | null;
  truncated?: boolean;
  reason?: string | null;
  code?: string | null;
}

export interface OutputAnswer {
  lines: OutputLine[];
  cursor: string | number | null;
  done: boolean;
}

export interface OutputWindow {
  stream: StreamName;
  offset: number;
  size_bytes: number;
  data?: string;
  data_base64?: string;
  truncated: boolean;
  state: RunState;
}

export interface Problem {
  type?: string;
  title?: string;
  status?: number;
  detail?: string;
  code?: string;
  retry?: "never" | "later" | "refresh";
  request_id?: string;
}

export interface LiveEvent {
  type: "event";
  service: string;
  aggregate: string;
  past: string;
  data: Record<string, unknown>;
  at: string;
}
