// One shared clock for everything on the screen that ages.

import { useSyncExternalStore } from "react";

const listeners = new Set<() => void>();
let current = Date.now();
let timer: ReturnType<typeof setInterval> | undefined;

function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  timer ??= setInterval(() => {
    current = Date.now();
    for (const each of listeners) each();
  }, 1_000);
  return () => {
    listeners.delete(listener);
    if (listeners.size === 0) {
      clearInterval(timer);
      timer = undefined;
    }
  };
}

function snapshot(): number {
  if (timer === undefined) current = Date.now();
  return Math.floor(current / 1_000) * 1_000;
}

/** The time in whole seconds; renders again each second. */
export function useNow(): number {
  return useSyncExternalStore(subscribe, snapshot);
}
