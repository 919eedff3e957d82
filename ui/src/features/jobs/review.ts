// What another operator asks for, read from the exact bytes that an approval names: nothing of it is left out or made nicer.

import { concat, fromBase64, fromHex, hex, type Bytes } from "../../api/encoding";
import { devicesDigest, requestDigest, sha256 } from "../../api/signing";
import type { AskedRequest, Run } from "../../api/types";

export interface Asked {
  method: string;
  path: string;
  body: Bytes;
  /** The members of the body, by name. */
  members: ReadonlyMap<string, unknown>;
}

/** Is the body of an approval. */
export interface ApprovalBody {
  /** The digest of the author's request. */
  request: string;
  /** The digest of the job's devices. */
  devices: string;
}

/** Reads a request; null where it is not one that a person can read. */
export function readAsked(asked: AskedRequest): Asked | null {
  try {
    const body = fromBase64(asked.body_base64);
    const read: unknown = JSON.parse(new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(body));
    if (typeof read !== "object" || read === null || Array.isArray(read)) return null;
    return { method: asked.method, path: asked.path, body, members: new Map(Object.entries(read)) };
  } catch {
    return null;
  }
}

/** Finds the job that a request asks for: itself, or what a schedule's request holds; null where it is neither. */
export function askedJob(asked: Asked): Asked | null {
  if (asked.path === "/api/v1/jobs") return asked;
  const job = asked.path === "/api/v1/schedules" ? asked.members.get("job") : null;
  if (typeof job !== "object" || job === null || Array.isArray(job)) return null;
  return { ...asked, members: new Map(Object.entries(job)) };
}

/** Names exactly what was read, and exactly these devices. */
export async function approvalOf(asked: Asked, runs: readonly Pick<Run, "guid">[]): Promise<ApprovalBody> {
  const [request, devices] = await Promise.all([requestDigest(asked), devicesDigest(runs.map((run) => run.guid))]);
  return { request: hex(request), devices: hex(devices) };
}

/** Digests both, as `borealis jobs review` prints it. */
export async function reviewDigest(approval: ApprovalBody): Promise<string> {
  return hex(await sha256(concat([fromHex(approval.request), fromHex(approval.devices)])));
}

/** Characters that show nothing, or steer how others are shown. */
const UNSEEN = /[^\P{C}\n\t]|[\u00a0\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}]/gu;

/** Makes every character visible: whoever reads a script before it runs must see all of it. */
export function visible(text: string): string {
  return text.replace(UNSEEN, (char) => `⟨U+${(char.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, "0")}⟩`);
}

/** One value as text: texts in quotes, anything else as JSON. */
export function quoted(value: unknown): string {
  return visible(JSON.stringify(value) ?? String(value));
}
