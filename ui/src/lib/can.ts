// Capability checks stand here only. The server decides; this only avoids offering what it would refuse.

import type { Approval, InstallerCode, Job, Session } from "../api/types";

export function holds(session: Session | undefined, right: string): boolean {
  if (!session) return false;
  return session.rights.includes(right) || session.rights.includes("*");
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
