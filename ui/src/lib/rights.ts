// What operators can be allowed, and how it is written.

import type { RightOnSites } from "../api/types";

/** Stands for all sites. */
export const EVERYWHERE = "*";

interface RightInfo {
  right: string;
  does: string;
  /** Reaches the whole deployment or nothing. */
  everywhere?: true;
}

/** Every right, as the server lists them. */
export const RIGHTS = [
  { right: "devices.read", does: "See devices and their facts" },
  { right: "devices.quarantine", does: "Quarantine devices and release them" },
  { right: "devices.tag", does: "Give devices tags and take them away" },
  { right: "devices.revoke", does: "Revoke and decommission devices" },
  { right: "jobs.read", does: "See jobs, runs and output" },
  { right: "jobs.run", does: "Run something on devices" },
  { right: "jobs.cancel", does: "Cancel jobs" },
  { right: "library.read", does: "See assemblies" },
  { right: "library.write", does: "Make, change and archive assemblies" },
  { right: "library.publish", does: "Publish versions of assemblies" },
  { right: "codes.read", does: "See installer codes" },
  { right: "codes.create", does: "Mint installer codes" },
  { right: "codes.revoke", does: "Revoke installer codes" },
  { right: "approvals.read", does: "See who waits for approval" },
  { right: "approvals.decide", does: "Approve or deny" },
  { right: "users.read", does: "See operators, their roles and their sessions", everywhere: true },
  { right: "users.manage", does: "Invite, disable and enable operators, and give them roles", everywhere: true },
  { right: "roles.manage", does: "Make and change roles", everywhere: true },
  { right: "sites.manage", does: "Make and describe sites", everywhere: true },
  { right: "audit.read", does: "See who did what", everywhere: true },
  { right: "metrics.read", does: "See the server's own figures", everywhere: true },
] as const satisfies readonly RightInfo[];

export type Right = (typeof RIGHTS)[number]["right"];

/** Whether a right reaches the whole deployment or nothing. */
export function needsEverywhere(right: string): boolean {
  return RIGHTS.some((each) => each.right === right && "everywhere" in each);
}

/** Rights as the command line takes and prints them: `jobs.run@berlin+oslo`, and no sites where it is all of them. */
export function rightText(line: RightOnSites): string {
  return line.sites.includes(EVERYWHERE) ? line.right : `${line.right}@${line.sites.join("+")}`;
}

/** A name of a site or of a role. */
export const NAME = /^[a-z][a-z0-9-]{0,39}$/;

/** The rights that are being chosen, with their sites. */
export type RightsDraft = Readonly<Record<string, readonly string[]>>;

export function draftOf(lines: readonly RightOnSites[]): RightsDraft {
  return Object.fromEntries(lines.map((line) => [line.right, line.sites]));
}

/** Reads what was chosen, in the order of the list; a right without a site is named, since it would be no right. */
export function readDraft(draft: RightsDraft): { lines: RightOnSites[]; siteless: string[] } {
  const known = RIGHTS.map(({ right }): string => right);
  const others = Object.keys(draft).filter((right) => !known.includes(right));
  const lines = [...known, ...others]
    .filter((right) => draft[right] !== undefined)
    .map((right) => ({ right, sites: [...(draft[right] ?? [])] }));
  return { lines, siteless: lines.filter((line) => line.sites.length === 0).map((line) => line.right) };
}

/** All sites leave no room for single ones, and the other way round: what was chosen last counts. */
export function tidySites(sites: readonly string[]): string[] {
  return sites.at(-1) === EVERYWHERE ? [EVERYWHERE] : sites.filter((site) => site !== EVERYWHERE);
}
