// The browser's key store, which jsdom does not have. Used as `vi.mock("…/api/keys", async () => (await import("…/test/keys")).keys())`.

import { vi } from "vitest";

export function keys() {
  return {
    loadSession: vi.fn(),
    storeSession: vi.fn().mockResolvedValue(undefined),
    destroySession: vi.fn().mockResolvedValue(undefined),
    makeSessionKey: vi.fn(),
  };
}
