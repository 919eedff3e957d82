// Jobs and runs for tests.

import type { AskedJob, Job, Run } from "../api/types";

export const AT = "2026-11-22T10:00:00.000Z";
export const JOB = "00000000000000000000000000000001";

/** A script of bob's, under way on one device. */
export function jobWith(of: Partial<Job> = {}): Job {
  return {
    job: JOB,
    created_at: AT,
    created_by: "bob",
    role: "script",
    verb: "run",
    language: "bash",
    context: "SYSTEM",
    script_digest: "ef".repeat(32),
    timeout_ms: 60_000,
    expires_at: "2099-01-01T00:00:00.000Z",
    runs_total: 1,
    counts: { running: 1 },
    state: "active",
    cancelled: false,
    ...of,
  };
}

/** A run of that job that nothing has happened to. */
export function runWith(of: Partial<Run> = {}): Run {
  return {
    run: "00000000000000000000000000000002",
    job: JOB,
    guid: "00000000-0000-4000-8000-000000000001",
    hostname: "host-0",
    state: "queued",
    attempt: 1,
    exit_code: null,
    queued_at: AT,
    delivered_at: null,
    started_at: null,
    ended_at: null,
    duration_ms: null,
    reason: null,
    code: null,
    truncated: false,
    stdout_bytes: null,
    stderr_bytes: null,
    ...of,
  };
}

/** What bob asked for, as the server hands it out. */
export function askedOf(body: unknown): AskedJob {
  const bytes = new TextEncoder().encode(typeof body === "string" ? body : JSON.stringify(body));
  return { job: JOB, created_by: "bob", method: "POST", path: "/api/v1/jobs", body_base64: btoa(String.fromCharCode(...bytes)) };
}

/** The answers of a job's page. */
export function jobAnswers(job: Job, runs: readonly Run[], body: unknown): Record<string, unknown> {
  return {
    [`GET /jobs/${JOB}`]: job,
    [`GET /jobs/${JOB}/runs`]: { items: runs, next_cursor: null },
    [`GET /jobs/${JOB}/output`]: { lines: [], cursor: "1", done: true },
    [`GET /jobs/${JOB}/request`]: askedOf(body),
  };
}
