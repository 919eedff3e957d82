// The whole page in jsdom: the real router and queries, with an API that answers from a table.

import { QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { createMemoryHistory, RouterProvider } from "@tanstack/react-router";
import { render } from "@testing-library/react";
import { vi } from "vitest";
import { loadSession } from "../api/keys";
import { Providers } from "../features/shell/Providers";
import { makeRouter } from "../routes";
import { session } from "./session";

export { session, sessionWith } from "./session";

export type Answers = Record<string, unknown>;

export interface Sent {
  method: string;
  path: string;
  body: unknown;
}

/** Renders a path. An answer is found by "METHOD /path" without query; a function gets the request. */
export async function renderApp(path: string, answers: Answers, options: { loggedIn?: boolean } = {}) {
  const sent: Sent[] = [];
  const loggedIn = options.loggedIn ?? true;
  const pair = (await crypto.subtle.generateKey("Ed25519", false, ["sign", "verify"])) as CryptoKeyPair;
  vi.mocked(loadSession).mockResolvedValue(
    loggedIn
      ? {
          session_id: session.session_id,
          username: session.username,
          expires_at: session.expires_at,
          privateKey: pair.privateKey,
        }
      : null,
  );
  vi.stubGlobal(
    "WebSocket",
    class {
      onopen = null;
      onmessage = null;
      onclose = null;
      close(): void {}
    },
  );
  vi.stubGlobal(
    "BroadcastChannel",
    class {
      postMessage(): void {}
      close(): void {}
    },
  );
  const table: Answers = { "GET /session": session, "GET /approvals": { items: [] }, ...answers };
  vi.stubGlobal("fetch", async (input: string, init?: RequestInit) => {
    const method = init?.method ?? "GET";
    const url = new URL(input, "https://test.invalid");
    const name = url.pathname.replace("/api/v1", "");
    const body = init?.body ? JSON.parse(new TextDecoder().decode(init.body as Uint8Array)) : undefined;
    sent.push({ method, path: name + url.search, body });
    const answer = table[`${method} ${name}`];
    const value = typeof answer === "function" ? (answer as (url: URL, body: unknown) => unknown)(url, body) : answer;
    if (value instanceof Promise) return value;
    const problem = value === undefined ? { code: "unknown_route", detail: `${method} ${name}` } : null;
    const status = problem ? 404 : ((value as { status?: number; code?: string }).code && (value as { status: number }).status) || 200;
    return new Response(JSON.stringify(problem ?? value), { status });
  });
  const queryClient = new QueryClient({ defaultOptions: { queries: { retry: false, staleTime: 0 } } });
  const router = makeRouter(queryClient);
  router.update({ ...router.options, history: createMemoryHistory({ initialEntries: [path] }) });
  await router.load();
  const view = render(
    <Providers nonce="">
      <QueryClientProvider client={queryClient}>
        <RouterProvider router={router} />
      </QueryClientProvider>
    </Providers>,
  );
  return { ...view, router, queryClient, sent };
}
