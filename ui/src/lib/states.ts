// One label, one shape and one tone for each state of the contract. Colour never stands alone.

import type {
  CodeState,
  DeviceStatus,
  Job,
  Presence,
  RunState,
  ScheduleState,
  TokenState,
  UserState,
} from "../api/types";

export type Tone = "good" | "bad" | "warn" | "busy" | "idle";
export type Shape = "dot" | "ring" | "check" | "cross" | "clock" | "bar" | "play" | "half" | "bolt" | "ban";

export interface Mark {
  label: string;
  tone: Tone;
  shape: Shape;
}

// What several kinds of things can be.
const ACTIVE: Mark = { label: "Active", tone: "good", shape: "check" };
const LIVE: Mark = { label: "Active", tone: "good", shape: "dot" };
const OVER: Mark = { label: "Expired", tone: "idle", shape: "clock" };
const REVOKED: Mark = { label: "Revoked", tone: "bad", shape: "ban" };

export const RUN_MARKS: Readonly<Record<RunState, Mark>> = {
  queued: { label: "Waiting", tone: "idle", shape: "ring" },
  delivered: { label: "Delivered", tone: "busy", shape: "half" },
  running: { label: "Running", tone: "busy", shape: "play" },
  succeeded: { label: "Succeeded", tone: "good", shape: "check" },
  failed: { label: "Failed", tone: "bad", shape: "cross" },
  timed_out: { label: "Timed out", tone: "bad", shape: "clock" },
  cancelled: { label: "Cancelled", tone: "idle", shape: "bar" },
  expired: { label: "Expired", tone: "warn", shape: "clock" },
  refused: { label: "Refused", tone: "bad", shape: "ban" },
  interrupted: { label: "Interrupted", tone: "warn", shape: "bolt" },
};

export const PRESENCE_MARKS: Readonly<Record<Presence, Mark>> = {
  online: { label: "Online", tone: "good", shape: "dot" },
  offline: { label: "Offline", tone: "idle", shape: "ring" },
  stale: { label: "Stale", tone: "warn", shape: "half" },
};

export const DEVICE_STATUS_MARKS: Readonly<Record<DeviceStatus, Mark>> = {
  active: ACTIVE,
  quarantined: { label: "Quarantined", tone: "warn", shape: "bolt" },
  revoked: REVOKED,
  decommissioned: { label: "Decommissioned", tone: "idle", shape: "bar" },
};

export const CODE_MARKS: Readonly<Record<CodeState, Mark>> = {
  active: LIVE,
  used: { label: "Used up", tone: "idle", shape: "check" },
  expired: OVER,
  revoked: REVOKED,
};

export const USER_MARKS: Readonly<Record<UserState, Mark>> = {
  invited: { label: "Invited", tone: "busy", shape: "ring" },
  active: ACTIVE,
  disabled: { label: "Disabled", tone: "bad", shape: "ban" },
  deleted: { label: "Deleted", tone: "idle", shape: "bar" },
};

export const TOKEN_MARKS: Readonly<Record<TokenState, Mark>> = {
  active: LIVE,
  revoked: REVOKED,
  expired: OVER,
};

export const SCHEDULE_MARKS: Readonly<Record<ScheduleState, Mark>> = {
  active: LIVE,
  paused: { label: "Paused", tone: "warn", shape: "bar" },
  stopped: { label: "Stopped", tone: "bad", shape: "ban" },
  ended: { label: "Ended", tone: "idle", shape: "check" },
  archived: { label: "Archived", tone: "idle", shape: "bar" },
};

/** How an act ended: the record says `accepted`, or the code of the refusal. */
export function outcomeMark(outcome: string): Mark {
  return outcome === "accepted"
    ? { label: "Accepted", tone: "good", shape: "check" }
    : { label: outcome, tone: "bad", shape: "ban" };
}

const UNKNOWN: Mark = { label: "Unknown", tone: "idle", shape: "ring" };

/** Finds the mark; a state that this page does not know yet reads "Unknown". */
export function markOf<S extends string>(marks: Readonly<Record<S, Mark>>, state: string): Mark {
  return Object.hasOwn(marks, state) ? marks[state as S] : UNKNOWN;
}

/** The states that a run ends in. */
export const FINAL_STATES: ReadonlySet<RunState> = new Set([
  "succeeded",
  "failed",
  "timed_out",
  "cancelled",
  "expired",
  "refused",
  "interrupted",
]);

/** The final states that need a person to look. */
export const TROUBLE_STATES: readonly RunState[] = ["failed", "timed_out", "refused", "interrupted", "expired"];

export function troubleCount(job: Pick<Job, "counts">): number {
  return TROUBLE_STATES.reduce((sum, state) => sum + (job.counts[state] ?? 0), 0);
}

export function finishedCount(job: Pick<Job, "counts">): number {
  return [...FINAL_STATES].reduce((sum, state) => sum + (job.counts[state] ?? 0), 0);
}

/** A whole job in one mark. */
export function jobMark(job: Pick<Job, "counts" | "state" | "cancelled">): Mark {
  if (job.state === "awaiting_approval" && !job.cancelled) {
    return { label: "Awaiting approval", tone: "warn", shape: "bar" };
  }
  if (job.state === "paused" && !job.cancelled) return { label: "Paused", tone: "warn", shape: "bar" };
  if (job.state !== "done") {
    return job.cancelled ? { label: "Cancelling", tone: "warn", shape: "bar" } : RUN_MARKS.running;
  }
  const trouble = TROUBLE_STATES.filter((state) => (job.counts[state] ?? 0) > 0);
  const worst = trouble[0];
  if (worst) return trouble.length === 1 ? RUN_MARKS[worst] : { ...RUN_MARKS.failed, label: "Failed" };
  if (job.cancelled || (job.counts.cancelled ?? 0) > 0) return RUN_MARKS.cancelled;
  return RUN_MARKS.succeeded;
}
