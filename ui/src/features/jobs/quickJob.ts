import type { Device, JobRequest, JobTargets, Language, RunContext } from "../../api/types";
import { utf8 } from "../../api/encoding";
import { count, plural } from "../../lib/units";
import { words } from "./words";

export const SCRIPT_LIMIT_BYTES = 262_144;

/** How the devices are named. */
export type Aim = "chosen" | "sites" | "all";

export interface QuickJob {
  aim: Aim;
  /** With `chosen`. */
  guids: readonly string[];
  /** With `sites`. */
  sites: readonly string[];
  /** Only those that it lets through; with `sites` and `all`. */
  filter: string;
  /** None of these; with `sites` and `all`. */
  except: readonly string[];
  language: Language;
  context: RunContext;
  timeoutMs: number;
  expiresInMs: number;
  /** How often it is tried again where it fails; 0 for never. */
  retries: number;
  backoffMs: number;
  script: string;
}

export const emptyJob: QuickJob = {
  aim: "chosen",
  guids: [],
  sites: [],
  filter: "",
  except: [],
  language: "bash",
  context: "SYSTEM",
  timeoutMs: 300_000,
  expiresInMs: 86_400_000,
  retries: 0,
  backoffMs: 60_000,
  script: "",
};

export interface JobErrors {
  targets?: string | undefined;
  script?: string | undefined;
}

/** What the form names; null while that is nothing. */
export function targetsOf(form: QuickJob): JobTargets | null {
  if (form.aim === "chosen") return form.guids.length === 0 ? null : { all: false, guids: [...form.guids] };
  if (form.aim === "sites" && form.sites.length === 0) return null;
  const filter = form.filter.trim();
  return {
    all: form.aim === "all",
    guids: [],
    ...(form.aim === "sites" ? { sites: [...form.sites] } : {}),
    ...(filter === "" ? {} : { filter }),
    ...(form.except.length === 0 ? {} : { except: [...form.except] }),
  };
}

/** What is known of the devices that are meant. */
export interface Split {
  total: number;
  online: number;
  unable: number;
}

/** Splits devices that were named one by one, without asking the server. */
export function splitOf(devices: readonly Pick<Device, "presence" | "status">[]): Split {
  return {
    total: devices.length,
    online: devices.filter((device) => device.presence === "online").length,
    unable: devices.filter((device) => device.status !== "active").length,
  };
}

/** Tells in one line what will happen on them. */
export function splitText({ total, online, unable }: Split): string {
  if (total === 0) return words.noneMeant;
  const parts = [words.onlineNow(count(online))];
  if (total > online) parts.push(words.onlineLater(count(total - online)));
  const rest = unable > 0 ? ` ${words.cannot(plural(unable, "device", "devices"))}` : "";
  return `${plural(total, "device", "devices")}: ${parts.join(", ")}.${rest}`;
}

const NO_TARGETS: Readonly<Record<Aim, string>> = { chosen: words.noTargets, sites: words.noSites, all: "" };

/** Reads the form: the request to send, or what is missing. */
export function readQuickJob(form: QuickJob): { request: JobRequest } | JobErrors {
  const targets = targetsOf(form);
  const script =
    form.script.trim() === ""
      ? words.scriptEmpty
      : utf8(form.script).length > SCRIPT_LIMIT_BYTES
        ? words.tooLarge
        : undefined;
  if (!targets || script) return { targets: targets ? undefined : NO_TARGETS[form.aim], script };
  return {
    request: {
      targets,
      role: "script",
      verb: "run",
      language: form.language,
      context: form.context,
      script: form.script,
      args: [],
      env: {},
      timeout_ms: form.timeoutMs,
      expires_in_ms: form.expiresInMs,
      ...(form.retries > 0 ? { retries: form.retries, backoff_ms: form.backoffMs } : {}),
    },
  };
}
