// What an event touches is read again, and what it tells is shown at once: both in one pass for all events of a moment.

import type { InfiniteData, QueryClient, QueryKey } from "@tanstack/react-query";
import {
  PRESENCES,
  RUN_STATES,
  type CountedPage,
  type Device,
  type LiveEvent,
  type Page,
  type Presence,
  type Run,
  type RunState,
} from "../../api/types";
import { FINAL_STATES } from "../../lib/states";
import { deviceKeys } from "../devices/queries";
import { enrolmentKeys } from "../enrolment/queries";
import { jobKeys } from "../jobs/queries";
import { scheduleKeys } from "../schedules/keys";

const COALESCE_MS = 250;

function textOf(event: LiveEvent, name: string): string | null {
  const value = event.data[name];
  return typeof value === "string" ? value : null;
}

/** Names the query keys whose data an event may have changed. */
export function keysTouched(event: LiveEvent): QueryKey[] {
  switch (`${event.service}.${event.aggregate}`) {
    case "inventory.device":
      return [deviceKeys.all];
    case "enrollment.approval":
      return [enrolmentKeys.approvals];
    case "enrollment.code":
      return [enrolmentKeys.codes];
    case "enrollment.device":
      return [deviceKeys.all, enrolmentKeys.approvals];
    case "scheduler.job":
    case "scheduler.run": {
      const job = textOf(event, "job");
      return [jobKeys.list, jobKeys.recent, ...(job ? [jobKeys.one(job), jobKeys.runs(job), jobKeys.outputs(job)] : [])];
    }
    case "scheduler.schedule": {
      const schedule = textOf(event, "schedule");
      return [scheduleKeys.list, ...(schedule ? [scheduleKeys.one(schedule)] : [])];
    }
    default:
      return [];
  }
}

/** What events tell by themselves; the re-read that follows has the last word. */
export class Told {
  private readonly presences = new Map<string, Presence>();
  private readonly states = new Map<string, Map<string, RunState>>();

  take(event: LiveEvent): void {
    if (event.service === "inventory") {
      const guid = textOf(event, "guid");
      const presence = PRESENCES.find((each) => each === event.data["presence"]);
      if (guid && presence) this.presences.set(guid, presence);
    } else if (event.service === "scheduler" && event.aggregate === "run") {
      const job = textOf(event, "job");
      const told = event.data["runs"];
      if (job && Array.isArray(told)) this.takeRuns(job, told);
    }
  }

  private takeRuns(job: string, told: unknown[]): void {
    const runs = this.states.get(job) ?? new Map<string, RunState>();
    for (const each of told) {
      const { run, state: said } = (each ?? {}) as { run?: unknown; state?: unknown };
      const state = RUN_STATES.find((known) => known === said);
      if (typeof run !== "string" || !state) continue;
      const before = runs.get(run);
      if (!before || isLater(before, state)) runs.set(run, state);
    }
    this.states.set(job, runs);
  }

  /** Puts everything told into the cache, one pass per list. */
  apply(client: QueryClient): void {
    if (this.presences.size > 0) this.applyPresences(client);
    for (const [job, states] of this.states) {
      patchPages<Run>(client, jobKeys.runs(job), (run) => {
        const state = states.get(run.run);
        return state && isLater(run.state, state) ? { ...run, state } : run;
      });
    }
    this.presences.clear();
    this.states.clear();
  }

  private applyPresences(client: QueryClient): void {
    const patch = <D extends Device>(device: D): D => {
      const presence = this.presences.get(device.guid);
      return presence && presence !== device.presence ? { ...device, presence } : device;
    };
    patchPages<Device>(client, ["devices", "list"], patch);
    client.setQueryData<{ items: Device[]; total: number }>(deviceKeys.every, (data) =>
      data ? { ...data, items: data.items.map(patch) } : data,
    );
    for (const guid of this.presences.keys()) {
      client.setQueryData<Device>(deviceKeys.one(guid), (data) => (data ? patch(data) : data));
    }
  }
}

const RANK: Readonly<Record<string, number>> = { queued: 0, delivered: 1, running: 2 };

/** A run only goes forward, whatever order events arrive in. */
function isLater(before: RunState, after: RunState): boolean {
  return !FINAL_STATES.has(before) && (RANK[after] ?? 3) > (RANK[before] ?? 3);
}

function patchPages<T>(client: QueryClient, queryKey: QueryKey, patch: (item: T) => T): void {
  client.setQueriesData<InfiniteData<Page<T> | CountedPage<T>>>({ queryKey }, (data) =>
    data && "pages" in data
      ? { ...data, pages: data.pages.map((page) => ({ ...page, items: page.items.map(patch) })) }
      : data,
  );
}

/**
 * Collects events and reads what they touched again, together.
 *
 * A key that is being read when its turn comes waits for the next turn: the answer under way may be older than the event,
 * and breaking it off would starve a slow list under steady events.
 */
export class Refresher {
  private readonly pending = new Map<string, QueryKey>();
  private readonly told = new Told();
  private timer: ReturnType<typeof setTimeout> | undefined;

  constructor(
    private readonly client: QueryClient,
    private readonly waitMs = COALESCE_MS,
  ) {}

  take(event: LiveEvent): void {
    this.told.take(event);
    for (const key of keysTouched(event)) this.pending.set(JSON.stringify(key), key);
    this.schedule();
  }

  stop(): void {
    clearTimeout(this.timer);
    this.timer = undefined;
    this.pending.clear();
  }

  private schedule(): void {
    if (this.pending.size > 0) this.timer ??= setTimeout(() => this.flush(), this.waitMs);
  }

  private flush(): void {
    this.timer = undefined;
    this.told.apply(this.client);
    for (const [name, queryKey] of this.pending) {
      if (this.client.isFetching({ queryKey }) > 0) continue;
      this.pending.delete(name);
      void this.client.invalidateQueries({ queryKey });
    }
    this.schedule();
  }
}
