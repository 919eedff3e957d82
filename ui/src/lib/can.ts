// Capability checks stand here only. The server decides; this only avoids offering what it would refuse.

import type { Approval, InstallerCode, Job, Session } from "../api/types";

export type Right =
  | "devices.read"
  | "jobs.read"
  | "jobs.run"
  | "jobs.cancel"
  | "codes.read"
  | "codes.create"
  | "codes.revoke"
  | "approvals.read"
  | "approvals.decide";

export function holds(session: Session | undefined, right: Right): boolean {
  return session?.rights.includes(right) ?? false;
}

/** Says why an act is not offered, or nothing. */
export function refusal(session: Session | undefined, right: Right): string | undefined {
  return session && !holds(session, right) ? `You do not hold the right ${right}.` : undefined;
}

export const approvalCan = {
  decide: (approval: Approval): boolean => approval.state === "pending",
};

export const codeCan = {
  revoke: (code: InstallerCode): boolean => code.state === "active",
};

export const jobCan = {
  cancel: (job: Job): boolean => job.state === "active" && !job.cancelled,
};
