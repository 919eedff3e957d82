// What an event touches is read again: at most twice a second per key, however many events come.

import type { InfiniteData, QueryClient, QueryKey } from "@tanstack/react-query";
import { PRESENCES, type CountedPage, type Device, type LiveEvent, type Presence } from "../../api/types";
import { deviceKeys } from "../devices/queries";
import { enrolmentKeys } from "../enrolment/queries";
import { jobKeys } from "../jobs/queries";

const COALESCE_MS = 500;

/** Names the query keys whose data an event may have changed. */
export function keysTouched(event: LiveEvent): QueryKey[] {
  const text = (name: string): string | null => {
    const value = event.data[name];
    return typeof value === "string" ? value : null;
  };
  switch (`${event.service}.${event.aggregate}`) {
    case "inventory.device":
      return [deviceKeys.all];
    case "enrollment.approval":
      return [enrolmentKeys.approvals];
    case "enrollment.code":
      return [enrolmentKeys.codes];
    case "enrollment.device":
      return [deviceKeys.all, enrolmentKeys.approvals];
    case "scheduler.job": {
      const job = text("job");
      return [jobKeys.list, jobKeys.recent, ...(job ? [jobKeys.one(job), jobKeys.runs(job)] : [])];
    }
    case "scheduler.run": {
      // Output has its own way (long poll with a cursor).
      if (event.past === "output") return [];
      const job = text("job");
      return [jobKeys.list, jobKeys.recent, ...(job ? [jobKeys.one(job), jobKeys.runs(job)] : [])];
    }
    default:
      return [];
  }
}

/** Puts a presence that an event tells into every list at once; the re-read that follows has the last word. */
export function patchPresence(client: QueryClient, event: LiveEvent): void {
  const { guid, presence } = event.data;
  if (event.service !== "inventory" || typeof guid !== "string" || !PRESENCES.includes(presence as Presence)) return;
  const patch = <D extends Device>(device: D): D =>
    device.guid === guid ? { ...device, presence: presence as Presence } : device;
  client.setQueriesData<InfiniteData<CountedPage<Device>>>({ queryKey: ["devices", "list"] }, (data) =>
    data ? { ...data, pages: data.pages.map((page) => ({ ...page, items: page.items.map(patch) })) } : data,
  );
  client.setQueryData<{ items: Device[]; total: number }>(deviceKeys.every, (data) =>
    data ? { ...data, items: data.items.map(patch) } : data,
  );
  client.setQueryData<Device>(deviceKeys.one(guid), (data) => (data ? patch(data) : data));
}

/** Collects keys and reads them again together. */
export class Refresher {
  private readonly pending = new Map<string, QueryKey>();
  private timer: ReturnType<typeof setTimeout> | undefined;

  constructor(
    private readonly client: QueryClient,
    private readonly waitMs = COALESCE_MS,
  ) {}

  take(event: LiveEvent): void {
    patchPresence(this.client, event);
    for (const key of keysTouched(event)) this.pending.set(JSON.stringify(key), key);
    if (this.pending.size > 0) this.timer ??= setTimeout(() => this.flush(), this.waitMs);
  }

  private flush(): void {
    this.timer = undefined;
    const keys = [...this.pending.values()];
    this.pending.clear();
    for (const queryKey of keys) void this.client.invalidateQueries({ queryKey });
  }

  stop(): void {
    clearTimeout(this.timer);
    this.timer = undefined;
    this.pending.clear();
  }
}
