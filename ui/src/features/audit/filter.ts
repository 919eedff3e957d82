// What is looked for in the audit: in the address bar, in the query of the API, and as options of the command line.

import { quoted } from "../../lib/shell";

export interface AuditFilter {
  actor?: string | undefined;
  action?: string | undefined;
  object?: string | undefined;
  outcome?: string | undefined;
  /** An instant, RFC 3339 UTC. */
  from?: string | undefined;
  /** An instant, RFC 3339 UTC. */
  to?: string | undefined;
}

const NAMES = ["actor", "action", "object", "outcome", "from", "to"] as const;
/** The longest text of a filter that the server takes. */
const MOST_CHARS = 200;

function instant(value: unknown): string | undefined {
  if (typeof value !== "string") return undefined;
  const date = new Date(value);
  return Number.isNaN(date.getTime()) ? undefined : date.toISOString();
}

/** Reads a filter from the address bar: what is none of it is left out. */
export function readFilter(search: Record<string, unknown>): AuditFilter {
  const filter: AuditFilter = {};
  for (const name of NAMES) {
    const value = search[name];
    if (name === "from" || name === "to") filter[name] = instant(value);
    // A number that stands in the address bar alone arrives as one.
    else if (typeof value === "string" || typeof value === "number") filter[name] = cut(String(value));
  }
  return clean(filter);
}

function cut(text: string): string {
  return text.trim().slice(0, MOST_CHARS);
}

/** Leaves out what says nothing. */
export function clean(filter: AuditFilter): AuditFilter {
  return Object.fromEntries(NAMES.filter((name) => filter[name]).map((name) => [name, filter[name]]));
}

export function isEmpty(filter: AuditFilter): boolean {
  return NAMES.every((name) => !filter[name]);
}

/** The options of `borealis audit export` and `follow` that mean the same. */
export function filterOptions(filter: AuditFilter, follows: boolean): string {
  const names = [["from", "--from"], ...(follows ? [] : [["to", "--until"]]), ["object", "--object"], ["actor", "--actor"], ["outcome", "--outcome"], ["action", "--action"]] as const;
  return names
    .map(([name, option]) => {
      const value = filter[name as keyof AuditFilter];
      return value ? ` ${option} ${quoted(value)}` : "";
    })
    .join("");
}

/** An instant as an input of date and time has it: local, to the minute. */
export function toLocalInput(at: string | undefined): string {
  if (!at) return "";
  const date = new Date(at);
  if (Number.isNaN(date.getTime())) return "";
  const local = new Date(date.getTime() - date.getTimezoneOffset() * 60_000);
  return local.toISOString().slice(0, 16);
}

/** Reads what such an input holds. */
export function fromLocalInput(text: string): string | undefined {
  return text === "" ? undefined : instant(text);
}
