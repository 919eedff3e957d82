import type { AssemblyShown, AssemblyUse, Device, JobRequest, JobTargets, Language, RunContext, Variable } from "../../api/types";
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
  /** What runs in the place of a typed script. */
  kept: Kept | null;
}

/** A version of an assembly, as it was read, with the values of its variables that were typed. */
export interface Kept {
  use: Omit<AssemblyUse, "variables">;
  variables: readonly Variable[];
  values: Readonly<Record<string, string>>;
}

/** Of the form: what comes from a version that was read. */
export function keptOf({ standing, version, content }: AssemblyShown): Pick<QuickJob, "timeoutMs" | "kept"> {
  const use = { assembly: standing.assembly, version: version.version, digest: version.digest };
  return { timeoutMs: content.timeout_ms, kept: { use, variables: content.variables, values: {} } };
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
  kept: null,
};

export interface JobErrors {
  targets?: string | undefined;
  script?: string | undefined;
  values?: Readonly<Record<string, string>>;
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

/** Says which values do not do; the server has the last word. */
function wrongValues({ variables, values }: Kept): Record<string, string> {
  const wrong: Record<string, string> = {};
  for (const { name, type, required, default: usual } of variables) {
    const value = values[name] ?? usual;
    if (required && value === "") wrong[name] = words.valueMissing;
    else if (type === "number" && value !== "" && !/^-?\d+(\.\d+)?$/.test(value)) wrong[name] = words.numberBad;
  }
  return wrong;
}

/** Reads the form: the request to send, or what is missing. */
export function readQuickJob(form: QuickJob): { request: JobRequest } | JobErrors {
  const targets = targetsOf(form);
  const script = form.kept
    ? undefined
    : form.script.trim() === ""
      ? words.scriptEmpty
      : utf8(form.script).length > SCRIPT_LIMIT_BYTES
        ? words.tooLarge
        : undefined;
  const values = form.kept ? wrongValues(form.kept) : {};
  if (!targets || script || Object.keys(values).length > 0) {
    return { targets: targets ? undefined : NO_TARGETS[form.aim], script, values };
  }
  return {
    request: {
      targets,
      role: "script",
      verb: "run",
      context: form.context,
      ...(form.kept
        ? { assembly: { ...form.kept.use, variables: { ...form.kept.values } } }
        : { language: form.language, script: form.script, env: {} }),
      args: [],
      timeout_ms: form.timeoutMs,
      expires_in_ms: form.expiresInMs,
      ...(form.retries > 0 ? { retries: form.retries, backoff_ms: form.backoffMs } : {}),
    },
  };
}
