// What the form of a schedule says. When it fires is for the server to compute: here a text is only put together.

import type { Concurrency, Misfire, ScheduleRequest, ScheduleRule } from "../../api/types";
import { instantOf } from "../../lib/time";
import { readQuickJob, type JobErrors, type QuickJob } from "../jobs/quickJob";
import { words, type KIND_LABELS } from "./words";

export const UNITS = ["minutes", "hours", "days", "weeks", "months", "years"] as const;
export type Unit = (typeof UNITS)[number];

export interface TimingForm {
  follows: keyof typeof KIND_LABELS;
  cron: string;
  every: string;
  unit: Unit;
  zone: string;
  /** On the clock of the zone, as the browser's field has it; empty for none. */
  start: string;
  end: string;
}

export interface ScheduleForm extends TimingForm {
  name: string;
  misfire: Misfire;
  /** How many late firings run, with `all`. */
  most: string;
  /** How late a firing may be and still run; 0 for however late. */
  lateLimitMs: number;
  concurrency: Concurrency;
  jitterMs: number;
}

export interface ScheduleErrors extends JobErrors {
  name?: string | undefined;
  timing?: string | undefined;
  most?: string | undefined;
}

const MAX_NAME = 128;
/** More late firings than this the server runs in no case. */
const MAX_LATE = 100;

/** Reads how many late firings run; null for what is no such number. */
function mostOf(form: ScheduleForm): number | null {
  const most = /^\d{1,3}$/.test(form.most.trim()) ? Number(form.most) : 0;
  return most >= 1 && most <= MAX_LATE ? most : null;
}

/** Puts a rule together; null while something is missing. */
export function ruleOf(form: TimingForm): ScheduleRule | null {
  const start = form.start === "" ? undefined : instantOf(form.start, form.zone);
  const end = form.end === "" ? undefined : instantOf(form.end, form.zone);
  if (start === null || end === null) return null;
  const span = { zone: form.zone, ...(start ? { start } : {}), ...(end ? { end } : {}) };
  if (form.follows === "cron") return form.cron.trim() === "" ? null : { cron: form.cron.trim(), ...span };
  if (form.follows === "once" && !start) return null;
  if (form.follows !== "every") return { kind: form.follows, ...span };
  return /^[1-9]\d{0,3}$/.test(form.every.trim()) ? { kind: `every_${form.every.trim()}_${form.unit}`, ...span } : null;
}

/** Reads the form: the request to send, or what is missing. */
export function readSchedule(form: ScheduleForm, job: QuickJob): { request: ScheduleRequest } | { errors: ScheduleErrors } {
  const name = form.name.trim();
  const rule = ruleOf(form);
  const read = readQuickJob(job);
  const errors: ScheduleErrors = {
    ...("request" in read ? {} : read),
    name: name === "" || name.length > MAX_NAME ? words.nameBad : undefined,
    timing: rule ? undefined : words.startBad,
  };
  const most = form.misfire === "all" ? mostOf(form) : undefined;
  if (most === null) errors.most = words.mostBad;
  if (errors.name || !rule || most === null || !("request" in read)) return { errors };
  return {
    request: {
      name,
      ...rule,
      misfire: form.misfire,
      ...(most === undefined ? {} : { misfire_most: most }),
      ...(form.lateLimitMs === 0 || form.misfire === "skip" ? {} : { late_limit_ms: form.lateLimitMs }),
      concurrency: form.concurrency,
      jitter_ms: form.jitterMs,
      job: read.request,
    },
  };
}

/** The rule that a schedule follows, for a preview. */
export function ruleOfSchedule(schedule: { follows: string; zone: string; start: string; end: string | null }): ScheduleRule {
  const rule = schedule.follows.startsWith("cron:") ? { cron: schedule.follows.slice(5) } : { kind: schedule.follows };
  return { ...rule, zone: schedule.zone, start: schedule.start, ...(schedule.end ? { end: schedule.end } : {}) };
}

/** What a schedule follows, in few words. */
export function followsText(follows: string): string {
  return follows.startsWith("cron:") ? follows.slice(5) : follows.replaceAll("_", " ");
}
