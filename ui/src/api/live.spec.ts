import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { Live, pausedSeconds, type LiveSocket } from "./live";

class FakeSocket implements LiveSocket {
  onopen: (() => void) | null = null;
  onmessage: ((message: { data: unknown }) => void) | null = null;
  onclose: (() => void) | null = null;
  closed = false;
  close(): void {
    this.closed = true;
  }
}

function setUp() {
  const sockets: FakeSocket[] = [];
  const onEvent = vi.fn();
  const onGap = vi.fn();
  const live = new Live({
    connect: () => {
      const socket = new FakeSocket();
      sockets.push(socket);
      return socket;
    },
    onEvent,
    onGap,
  });
  const last = (): FakeSocket => {
    const socket = sockets.at(-1);
    if (!socket) throw new Error("no socket was opened");
    return socket;
  };
  return { live, sockets, last, onEvent, onGap };
}

describe("the live connection", () => {
  beforeEach(() => vi.useFakeTimers());
  afterEach(() => vi.useRealTimers());

  it("hands events on and ignores everything else", () => {
    const { live, last, onEvent } = setUp();
    live.start();
    last().onopen?.();
    for (const data of ['{"type":"ping"}', "not json", "7", new Uint8Array(2)]) last().onmessage?.({ data });
    expect(onEvent).not.toHaveBeenCalled();
    last().onmessage?.({ data: '{"type":"event","service":"inventory","aggregate":"device","past":"added","data":{}}' });
    expect(onEvent).toHaveBeenCalledOnce();
  });

  it("comes back after a break and says that events may be missing", () => {
    const { live, last, sockets, onGap } = setUp();
    live.start();
    last().onopen?.();
    expect(onGap).not.toHaveBeenCalled();
    last().onclose?.();
    expect(live.getStatus().kind).toBe("paused");
    vi.advanceTimersByTime(1_000);
    expect(sockets).toHaveLength(2);
    last().onopen?.();
    expect(live.getStatus().kind).toBe("on");
    expect(onGap).toHaveBeenCalledOnce();
  });

  it("takes silence for a dead line", () => {
    const { live, last, sockets } = setUp();
    live.start();
    last().onopen?.();
    const first = last();
    vi.advanceTimersByTime(30_000);
    first.onmessage?.({ data: '{"type":"ping"}' });
    vi.advanceTimersByTime(30_000);
    expect(live.getStatus().kind).toBe("on");
    vi.advanceTimersByTime(6_000);
    expect(first.closed).toBe(true);
    expect(sockets.length).toBeGreaterThan(1);
  });

  it("stops for good", () => {
    const { live, last, sockets } = setUp();
    live.start();
    last().onopen?.();
    live.stop();
    vi.advanceTimersByTime(60_000);
    expect(sockets).toHaveLength(1);
    expect(last().closed).toBe(true);
  });

  it("says nothing about short breaks", () => {
    expect(pausedSeconds({ kind: "paused", since: 1_000 }, 2_000)).toBeNull();
    expect(pausedSeconds({ kind: "paused", since: 1_000 }, 13_000)).toBe(12);
    expect(pausedSeconds({ kind: "on", since: 0 }, 13_000)).toBeNull();
  });
});
