import { QueryClient } from "@tanstack/react-query";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { LiveEvent } from "../../api/types";
import { keysTouched, Refresher, Told } from "./liveEvents";

function event(service: string, aggregate: string, past: string, data: Record<string, unknown> = {}): LiveEvent {
  return { type: "event", service, aggregate, past, data, at: "2026-11-22T10:00:00.000Z" };
}

describe("an event", () => {
  it("names what it touches", () => {
    expect(keysTouched(event("inventory", "device", "added"))).toEqual([["devices"]]);
    expect(keysTouched(event("enrollment", "approval", "requested"))).toEqual([["approvals"]]);
    expect(keysTouched(event("scheduler", "run", "changed", { job: "j" }))).toContainEqual(["jobs", "runs", "j"]);
    expect(keysTouched(event("scheduler", "schedule", "changed", { schedule: "s" }))).toEqual([["schedules", "list"], ["schedules", "one", "s"]]);
    expect(keysTouched(event("someone", "else", "new"))).toEqual([]);
  });

  it("puts a presence into the lists at once, if it is one", () => {
    const client = new QueryClient();
    const key = ["devices", "list", ""];
    const pages = [{ items: [{ guid: "g", presence: "offline" }], next_cursor: null, total: 1 }];
    client.setQueryData(key, { pages, pageParams: [null] });
    const tell = (presence: string): void => {
      const told = new Told();
      told.take(event("inventory", "device", "presence-changed", { guid: "g", presence }));
      told.apply(client);
    };
    tell("<b>");
    expect(client.getQueryData(key)).toEqual({ pages, pageParams: [null] });
    tell("online");
    expect(JSON.stringify(client.getQueryData(key))).toContain('"presence":"online"');
  });

  it("moves a run forward only", () => {
    const client = new QueryClient();
    const key = ["jobs", "runs", "j"];
    client.setQueryData(key, { pages: [{ items: [{ run: "r", state: "queued" }], next_cursor: null }], pageParams: [null] });
    const state = (...states: unknown[]): string => {
      const told = new Told();
      const runs = states.map((to) => ({ run: "r", state: to }));
      told.take(event("scheduler", "run", "changed", { job: "j", runs: [null, { state: "failed" }, ...runs] }));
      told.apply(client);
      return /"state":"(\w+)"/.exec(JSON.stringify(client.getQueryData(key)))?.[1] ?? "";
    };
    expect(state("<b>", 7)).toBe("queued");
    expect(state("running", "delivered")).toBe("running");
    expect(state("failed", "running")).toBe("failed");
    expect(state("succeeded")).toBe("failed");
  });
});

describe("re-reading", () => {
  beforeEach(() => vi.useFakeTimers());
  afterEach(() => vi.useRealTimers());

  it("happens once for many events", () => {
    const client = new QueryClient();
    const invalidate = vi.spyOn(client, "invalidateQueries").mockResolvedValue();
    const refresher = new Refresher(client);
    for (let at = 0; at < 500; at += 1) refresher.take(event("inventory", "device", "facts-changed", { guid: `${at}` }));
    expect(invalidate).not.toHaveBeenCalled();
    vi.advanceTimersByTime(500);
    expect(invalidate).toHaveBeenCalledOnce();
    vi.advanceTimersByTime(5_000);
    expect(invalidate).toHaveBeenCalledOnce();
  });

  it("waits while an older read is under way, and is not forgotten", () => {
    const client = new QueryClient();
    const invalidate = vi.spyOn(client, "invalidateQueries").mockResolvedValue();
    const fetching = vi.spyOn(client, "isFetching").mockReturnValue(1);
    const refresher = new Refresher(client);
    refresher.take(event("enrollment", "approval", "requested", { id: "a" }));
    vi.advanceTimersByTime(1_000);
    expect(invalidate).not.toHaveBeenCalled();
    fetching.mockReturnValue(0);
    vi.advanceTimersByTime(250);
    expect(invalidate).toHaveBeenCalledOnce();
  });
});
