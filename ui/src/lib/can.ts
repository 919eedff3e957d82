// Capability checks stand here only. The server decides; this only avoids offering what it would refuse.

import { DEVICE_CHANGES, type Approval, type Conflict, type Device, type DeviceChange, type InstallerCode, type Job, type Session } from "../api/types";

export type Right =
  | "devices.read"
  | "devices.quarantine"
  | "devices.revoke"
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
  /** The changes of status that this operator can make of this device. */
  change: (device: Device, session: Session | undefined): DeviceChange[] =>
    DEVICE_CHANGES.filter(
      (change) => LEADS_FROM[change].includes(device.status) && holds(session, CHANGE_RIGHTS[change]),
    ),
};

export const jobCan = {
  cancel: (job: Job): boolean => job.state === "active" && !job.cancelled,
};
