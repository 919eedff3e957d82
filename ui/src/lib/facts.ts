// Facts are whatever an agent tells. Nothing is assumed of their shape; all of it ends as text.

import { absolute } from "./time";
import { duration, NOTHING, size } from "./units";

export interface FactRow {
  name: string;
  value: string;
}

const ACRONYMS = new Set(["bios", "cpu", "guid", "id", "ip", "mac", "mtu", "os", "ram", "uuid"]);

/** "total_bytes" reads "Total", "cpu_count" reads "CPU count"; the unit goes into the value. */
export function factName(key: string): string {
  const name = key
    .replace(/_(bytes|ms|at)$/, "")
    .split("_")
    .map((word) => (ACRONYMS.has(word) ? word.toUpperCase() : word))
    .join(" ");
  return name === "" ? key : name.charAt(0).toUpperCase() + name.slice(1);
}

export function factText(key: string, value: unknown): string {
  if (value === null || value === undefined || value === "") return NOTHING;
  if (typeof value === "number") {
    if (key.endsWith("_bytes")) return size(value);
    if (key.endsWith("_ms")) return duration(value);
    return String(value);
  }
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (typeof value === "string") return key.endsWith("_at") ? absolute(value) : value;
  if (Array.isArray(value)) {
    return value.length === 0 ? NOTHING : value.map((item) => factText(key, item)).join(", ");
  }
  return Object.entries(value)
    .map(([name, item]) => `${factName(name)} ${factText(name, item)}`)
    .join(" · ");
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** A record as rows of a list; a list or a plain value gives none. */
export function factRows(value: unknown): FactRow[] {
  if (!isRecord(value)) return [];
  return Object.entries(value).map(([key, item]) => ({ name: factName(key), value: factText(key, item) }));
}

export interface FactTable {
  columns: { key: string; name: string }[];
  rows: string[][];
}

/** A list of records as a table with every key that occurs. */
export function factTable(value: unknown): FactTable | null {
  if (!Array.isArray(value) || value.length === 0) return null;
  const records = value.map((item: unknown): Record<string, unknown> => (isRecord(item) ? item : { value: item }));
  const keys = [...new Set(records.flatMap((record) => Object.keys(record)))];
  return {
    columns: keys.map((key) => ({ key, name: factName(key) })),
    rows: records.map((record) => keys.map((key) => factText(key, record[key]))),
  };
}
