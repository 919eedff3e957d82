// Instants come as UTC and are shown in the viewer's zone: relative under 24 hours, absolute after.

import { NOTHING } from "./units";

const DAY_MS = 86_400_000;

export function zoneName(): string {
  return Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";
}

function parse(at: string | null | undefined): Date | null {
  if (!at) return null;
  const date = new Date(at);
  return Number.isNaN(date.getTime()) ? null : date;
}

/** 2026-11-22 10:00:07, in the given zone. */
export function absolute(at: string | null | undefined, zone = zoneName()): string {
  const date = parse(at);
  if (!date) return NOTHING;
  const parts = new Intl.DateTimeFormat("en-GB", {
    timeZone: zone,
    year: "numeric",
    month: "2-digit",
    day: "2-digit",
    hour: "2-digit",
    minute: "2-digit",
    second: "2-digit",
    hourCycle: "h23",
  }).formatToParts(date);
  const part = (type: Intl.DateTimeFormatPartTypes): string => parts.find((p) => p.type === type)?.value ?? "";
  return `${part("year")}-${part("month")}-${part("day")} ${part("hour")}:${part("minute")}:${part("second")}`;
}

/** 10:00:07, in the given zone. */
export function clock(at: string | number, zone = zoneName()): string {
  return absolute(new Date(at).toISOString(), zone).slice(11);
}

/** "12 s ago", "in 3 h", and the date once it is a day away. */
export function relative(at: string | null | undefined, now: number, zone = zoneName()): string {
  const date = parse(at);
  if (!date) return NOTHING;
  const distance = date.getTime() - now;
  const span = Math.abs(distance);
  if (span >= DAY_MS) return absolute(at, zone).slice(0, 16);
  const seconds = Math.floor(span / 1_000);
  if (seconds < 5) return "now";
  const text =
    seconds < 60
      ? `${seconds} s`
      : seconds < 3_600
        ? `${Math.floor(seconds / 60)} min`
        : `${Math.floor(seconds / 3_600)} h`;
  return distance < 0 ? `${text} ago` : `in ${text}`;
}

/** What the pointer reveals: the zone's time, UTC and nothing guessed. */
export function hover(at: string | null | undefined, zone = zoneName()): string {
  const date = parse(at);
  return date ? `${absolute(at, zone)} ${zone}\n${date.toISOString()} (UTC)` : "";
}

/** What the clock of a zone shows at an instant, as if that were UTC. */
function wall(ms: number, zone: string): number {
  return Date.parse(`${absolute(new Date(ms).toISOString(), zone).replace(" ", "T")}Z`);
}

/** The instant at which the clock of a zone shows a time, `2026-11-24T09:00`; null for what is none. */
export function instantOf(local: string, zone: string): string | null {
  const shown = Date.parse(`${local}Z`);
  if (Number.isNaN(shown)) return null;
  // The offset that holds at the first guess, and then the one that holds at the instant itself.
  const guess = shown - (wall(shown, zone) - shown);
  const at = guess - (wall(guess, zone) - shown);
  return new Date(at).toISOString();
}
