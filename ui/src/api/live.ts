// One WebSocket per tab. Events only say what to read again; plain reads stay the truth, so a lost event costs nothing
// but time: after each reconnect everything on the screen is read anew.

import type { LiveEvent } from "./types";
import { API } from "./client";

export type LiveStatus =
  | { kind: "off" }
  | { kind: "connecting" }
  | { kind: "on"; since: number }
  | { kind: "paused"; since: number };

export interface LiveSocket {
  onopen: (() => void) | null;
  onmessage: ((message: { data: unknown }) => void) | null;
  onclose: (() => void) | null;
  close(): void;
}

export interface LiveOptions {
  connect: () => LiveSocket;
  /** An event came. */
  onEvent: (event: LiveEvent) => void;
  /** The connection is back after a gap: events may be missing. */
  onGap: () => void;
}

/** The server pings every 15 s; two missed and a little more mean that the line is dead. */
const SILENCE_MS = 35_000;
const BACKOFF_MS = [500, 1_000, 2_000, 4_000, 8_000] as const;
/** Shorter breaks are not worth a word. */
const GRACE_MS = 1_500;

export class Live {
  private status: LiveStatus = { kind: "off" };
  private readonly listeners = new Set<() => void>();
  private socket: LiveSocket | null = null;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private watchdog: ReturnType<typeof setTimeout> | undefined;
  private attempt = 0;
  private wasOn = false;
  private lastHeard = 0;

  constructor(private readonly options: LiveOptions) {}

  readonly subscribe = (listener: () => void): (() => void) => {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  };

  readonly getStatus = (): LiveStatus => this.status;

  /** When the data on the screen was last known to be whole. */
  get heardAt(): number {
    return this.lastHeard;
  }

  start(): void {
    if (this.status.kind !== "off") return;
    this.setStatus({ kind: "connecting" });
    this.open();
  }

  stop(): void {
    clearTimeout(this.timer);
    clearTimeout(this.watchdog);
    this.drop();
    this.attempt = 0;
    this.wasOn = false;
    this.setStatus({ kind: "off" });
  }

  /** Tries at once, for instance because the browser says that the network is back. */
  readonly hurry = (): void => {
    if (this.status.kind === "off" || this.status.kind === "on") return;
    clearTimeout(this.timer);
    this.drop();
    this.open();
  };

  private open(): void {
    const socket = this.options.connect();
    this.socket = socket;
    this.watch();
    socket.onopen = () => {
      const gap = this.wasOn;
      this.attempt = 0;
      this.wasOn = true;
      this.heard();
      this.setStatus({ kind: "on", since: Date.now() });
      if (gap) this.options.onGap();
    };
    socket.onmessage = ({ data }) => {
      this.heard();
      const event = parse(data);
      if (event) this.options.onEvent(event);
    };
    socket.onclose = () => this.lost();
  }

  private heard(): void {
    this.lastHeard = Date.now();
    this.watch();
  }

  private watch(): void {
    clearTimeout(this.watchdog);
    this.watchdog = setTimeout(() => this.lost(), SILENCE_MS);
  }

  private lost(): void {
    if (this.status.kind === "off") return;
    clearTimeout(this.watchdog);
    this.drop();
    if (this.status.kind !== "paused") this.setStatus({ kind: "paused", since: Date.now() });
    const wait = BACKOFF_MS[Math.min(this.attempt, BACKOFF_MS.length - 1)] ?? 8_000;
    this.attempt += 1;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.open(), wait * (0.75 + Math.random() / 2));
  }

  private drop(): void {
    const socket = this.socket;
    this.socket = null;
    if (!socket) return;
    socket.onopen = null;
    socket.onmessage = null;
    socket.onclose = null;
    socket.close();
  }

  private setStatus(status: LiveStatus): void {
    this.status = status;
    for (const listener of this.listeners) listener();
  }
}

function parse(data: unknown): LiveEvent | null {
  if (typeof data !== "string") return null;
  try {
    const value: unknown = JSON.parse(data);
    if (typeof value !== "object" || value === null || (value as { type?: unknown }).type !== "event") return null;
    const event = value as LiveEvent;
    return { ...event, data: typeof event.data === "object" && event.data !== null ? event.data : {} };
  } catch {
    return null;
  }
}

/** Seconds that live updates have paused, or null while there is nothing to say. */
export function pausedSeconds(status: LiveStatus, now: number): number | null {
  if (status.kind !== "paused" || now - status.since < GRACE_MS) return null;
  return Math.round((now - status.since) / 1_000);
}

export function connectBrowserSocket(): LiveSocket {
  const url = new URL(`${API}/live`, window.location.href);
  url.protocol = url.protocol === "http:" ? "ws:" : "wss:";
  return new WebSocket(url) as unknown as LiveSocket;
}
