import type { Device, JobRequest, Language, RunContext } from "../../api/types";
import { utf8 } from "../../api/encoding";
import { plural } from "../../lib/units";
import { words } from "./words";

export const SCRIPT_LIMIT_BYTES = 262_144;

export interface QuickJob {
  all: boolean;
  guids: readonly string[];
  language: Language;
  context: RunContext;
  timeoutMs: number;
  expiresInMs: number;
  script: string;
}

export const emptyJob: QuickJob = {
  all: false,
  guids: [],
  language: "bash",
  context: "SYSTEM",
  timeoutMs: 300_000,
  expiresInMs: 86_400_000,
  script: "",
};

export interface JobErrors {
  targets?: string | undefined;
  script?: string | undefined;
}

export interface TargetSplit {
  now: number;
  later: number;
  never: number;
}

/** Splits the targets by what will happen to them. */
export function splitTargets(devices: readonly Pick<Device, "presence" | "status">[]): TargetSplit {
  const split: TargetSplit = { now: 0, later: 0, never: 0 };
  for (const device of devices) {
    if (device.status !== "active") split.never += 1;
    else if (device.presence === "online") split.now += 1;
    else split.later += 1;
  }
  return split;
}

export function splitText(split: TargetSplit): string {
  const parts = [words.willRun(plural(split.now, "device", "devices"))];
  if (split.later > 0) parts.push(words.willWait(plural(split.later, "device", "devices")));
  if (split.never > 0) parts.push(words.willNot(plural(split.never, "device", "devices")));
  return `${parts.join(", ")}.`;
}

/** Reads the form: the request to send, or what is missing. */
export function readQuickJob(form: QuickJob): { request: JobRequest } | JobErrors {
  const targets = !form.all && form.guids.length === 0 ? words.noTargets : undefined;
  const script =
    form.script.trim() === ""
      ? words.scriptEmpty
      : utf8(form.script).length > SCRIPT_LIMIT_BYTES
        ? words.tooLarge
        : undefined;
  if (targets || script) return { targets, script };
  return {
    request: {
      targets: { all: form.all, guids: form.all ? [] : [...form.guids] },
      role: "script",
      verb: "run",
      language: form.language,
      context: form.context,
      script: form.script,
      args: [],
      env: {},
      timeout_ms: form.timeoutMs,
      expires_in_ms: form.expiresInMs,
    },
  };
}
