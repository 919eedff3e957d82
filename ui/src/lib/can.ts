// Capability checks stand here only. The server decides; this only avoids offering what it would refuse.

import {
  DEVICE_CHANGES,
  type ApiToken,
  type Approval,
  type Conflict,
  type Device,
  type DeviceChange,
  type InstallerCode,
  type Job,
  type LiveSession,
  type Schedule,
  type Session,
  type User,
} from "../api/types";
import { EVERYWHERE, type Right } from "./rights";
import { troubleCount } from "./states";

export function holds(session: Session | undefined, right: Right): boolean {
  return session?.rights.includes(right) ?? false;
}

/** Says why an act is not offered, or nothing. */
export function refusal(session: Session | undefined, right: Right): string | undefined {
  return session && !holds(session, right) ? `You do not hold the right ${right}.` : undefined;
}

/** The sites that a right of the session reaches; none where it is not held. A right with limits has a line for each. */
export function sitesOf(session: Session | undefined, right: string): readonly string[] {
  return session?.reach.filter((line) => line.right === right).flatMap((line) => line.sites) ?? [];
}

/** Whether a right is held on every site: what concerns the whole deployment takes that. */
export function holdsEverywhere(session: Session | undefined, right: Right): boolean {
  return sitesOf(session, right).includes(EVERYWHERE);
}

/** Says why an act on the whole deployment is not offered, or nothing. */
export function refusalEverywhere(session: Session | undefined, right: Right): string | undefined {
  const missing = refusal(session, right);
  return missing ?? (session && !holdsEverywhere(session, right) ? `You hold the right ${right} for some sites only.` : undefined);
}

export const pageCan = {
  run: (session: Session | undefined): boolean => holds(session, "jobs.run"),
  jobs: (session: Session | undefined): boolean => holds(session, "jobs.read"),
  devices: (session: Session | undefined): boolean => holds(session, "devices.read"),
  library: (session: Session | undefined): boolean => holds(session, "library.read"),
  enrolment: (session: Session | undefined): boolean => holds(session, "approvals.read") || holds(session, "codes.read"),
  operators: (session: Session | undefined): boolean =>
    holdsEverywhere(session, "users.read") || holdsEverywhere(session, "sites.manage"),
  audit: (session: Session | undefined): boolean => holdsEverywhere(session, "audit.read"),
};

export const userCan = {
  /** The link that sets the password, anew; whoever was invited gets another one too. */
  reset: (user: User): boolean => user.state === "active" || user.state === "invited",
  disable: (user: User): boolean => user.state === "active" || user.state === "invited",
  enable: (user: User): boolean => user.state === "disabled",
  resetFactor: (user: User): boolean => (user.second_factor || user.passkeys > 0) && user.state !== "deleted",
  setRoles: (user: User): boolean => user.state !== "deleted",
};

export const sessionCan = {
  end: (live: LiveSession, session: Session | undefined): boolean =>
    !live.current && (live.operator === session?.operator || holdsEverywhere(session, "users.manage")),
};

export const tokenCan = {
  revoke: (token: ApiToken, session: Session | undefined): boolean =>
    token.state === "active" && (token.author === session?.operator || holdsEverywhere(session, "users.manage")),
};

export const approvalCan = {
  decide: (approval: Approval): boolean => approval.state === "pending",
  /** Whether an approval has to say what becomes of a device that is, or was, known for the machine. */
  mustResolve: (approval: Approval): boolean =>
    approval.conflicts.some((each) => each.kind === "known_machine" || each.kind === "shut_out_machine"),
  /** The device that this key is in another site; no approval moves it. */
  livesElsewhere: (approval: Approval): Conflict | undefined =>
    approval.conflicts.find((each) => each.kind === "other_site"),
};

export const codeCan = {
  revoke: (code: InstallerCode): boolean => code.state === "active",
};

const CHANGE_RIGHTS: Readonly<Record<DeviceChange, Right>> = {
  quarantine: "devices.quarantine",
  release: "devices.quarantine",
  revoke: "devices.revoke",
  decommission: "devices.revoke",
};

/** Which changes lead from a status; the server knows the same table. */
const LEADS_FROM: Readonly<Record<DeviceChange, readonly Device["status"][]>> = {
  quarantine: ["active"],
  release: ["quarantined"],
  revoke: ["active", "quarantined"],
  decommission: ["active", "quarantined", "revoked"],
};

export const deviceCan = {
  tag: (device: Device, session: Session | undefined): boolean =>
    device.status !== "decommissioned" && holds(session, "devices.tag"),
  /** The changes of status that this operator can make of this device. */
  change: (device: Device, session: Session | undefined): DeviceChange[] =>
    DEVICE_CHANGES.filter(
      (change) => LEADS_FROM[change].includes(device.status) && holds(session, CHANGE_RIGHTS[change]),
    ),
};

export const jobCan = {
  cancel: (job: Job): boolean => job.state !== "done" && !job.cancelled,
  /** Whether something of it can be done again: where it ended, and not well. */
  rerun: (job: Job): boolean => job.state === "done" && troubleCount(job) > 0,
  /** Whether it waits for another operator's approval. */
  review: (job: Job): boolean => job.state === "awaiting_approval" && !job.cancelled,
  /** Whether this operator asked for it, and so is not the one who approves it. */
  /** Its waves wait for whoever looks at it, or for the clock, which need not be waited for. */
  continue: (job: Pick<Job, "state" | "cancelled" | "waves">): boolean =>
    !job.cancelled && (job.state === "paused" || (job.state === "active" && job.waves?.state === "paused")),
  isOwn: (job: Pick<Job, "created_by">, session: Session | undefined): boolean => job.created_by === session?.username,
};

export const scheduleCan = {
  pause: (schedule: Schedule): boolean => schedule.state === "active",
  resume: (schedule: Schedule): boolean => schedule.state === "paused" || schedule.state === "stopped",
  skip: (schedule: Schedule): boolean => schedule.state === "active" && schedule.next_at !== null,
  run: (schedule: Schedule): boolean => schedule.state !== "archived",
  archive: (schedule: Schedule): boolean => schedule.state !== "archived",
};

/**
 * On how many devices of these sites a job may be without another operator's approval; null where there is no limit.
 *
 * On each site the largest limit counts of those that fit it, and of all sites the strictest.
 */
export function jobLimit(session: Session | undefined, sites: Iterable<string>): number | null {
  const lines = session?.reach.filter((line) => line.right === "jobs.run") ?? [];
  let strictest: number | null = null;
  for (const site of new Set(sites)) {
    const limits = lines
      .filter((line) => line.sites.includes(site) || line.sites.includes(EVERYWHERE))
      .map((line) => line.max_devices ?? Infinity);
    const limit = Math.max(...limits);
    if (limits.length > 0 && limit < (strictest ?? Infinity)) strictest = limit;
  }
  return strictest;
}
