// @vitest-environment node
import { beforeEach, describe, expect, it, vi } from "vitest";
import { change, get, onSessionEnded } from "./client";
import { fromBase64, utf8 } from "./encoding";
import { loadSession, type StoredSession } from "./keys";
import { requestBytes } from "./signing";

vi.mock("./keys", () => ({ loadSession: vi.fn() }));

const SESSION_ID = "00112233445566778899aabbccddeeff";

function answer(status: number, body: unknown): Response {
  return new Response(JSON.stringify(body), { status, headers: { "content-type": "application/json" } });
}

describe("a change", () => {
  let pair: CryptoKeyPair;
  const fetched = vi.fn<typeof fetch>();

  beforeEach(async () => {
    pair = (await crypto.subtle.generateKey("Ed25519", false, ["sign", "verify"])) as CryptoKeyPair;
    const stored: StoredSession = {
      session_id: SESSION_ID,
      username: "ada",
      expires_at: "2026-11-22T20:00:00.000Z",
      privateKey: pair.privateKey,
    };
    vi.mocked(loadSession).mockResolvedValue(stored);
    fetched.mockReset();
    vi.stubGlobal("fetch", fetched);
  });

  it("is signed over exactly what is sent", async () => {
    fetched.mockResolvedValue(answer(200, { ok: true }));
    await change("/codes", { site: "default" });
    const [path, init] = fetched.mock.calls[0] ?? [];
    const headers = init?.headers as Record<string, string>;
    const body = init?.body as Uint8Array<ArrayBuffer>;
    expect(path).toBe("/api/v1/codes");
    expect(new TextDecoder().decode(body)).toBe('{"site":"default"}');
    expect(headers["idempotency-key"]).toMatch(/^[0-9a-f]{32}$/);
    const [version, session_id, issued_at, signature] = (headers["borealis-signature"] ?? "").split(" ");
    expect([version, session_id]).toEqual(["v1", SESSION_ID]);
    expect(issued_at).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
    const signed = await requestBytes({
      method: "POST",
      path: "/api/v1/codes",
      body,
      session_id: SESSION_ID,
      command_id: headers["idempotency-key"] ?? "",
      issued_at: issued_at ?? "",
    });
    expect(await crypto.subtle.verify("Ed25519", pair.publicKey, fromBase64(signature ?? ""), signed)).toBe(true);
  });

  it("is sent once more under the same command id when the answer was lost", async () => {
    fetched.mockRejectedValueOnce(new TypeError("network")).mockResolvedValueOnce(answer(200, {}));
    await change("/jobs", {});
    const ids = fetched.mock.calls.map(([, init]) => new Headers(init?.headers).get("idempotency-key"));
    expect(ids).toHaveLength(2);
    expect(ids[0]).toBe(ids[1]);
  });

  it("is not repeated when the server refused", async () => {
    fetched.mockResolvedValue(answer(409, { code: "wrong_state", detail: "It is decided." }));
    await expect(change("/approvals/1/approve")).rejects.toMatchObject({ code: "wrong_state" });
    expect(fetched).toHaveBeenCalledOnce();
  });

  it("is not sent at all without a session key", async () => {
    const ended = vi.fn();
    onSessionEnded(ended);
    vi.mocked(loadSession).mockResolvedValue(null);
    await expect(change("/codes")).rejects.toMatchObject({ code: "session_key_missing" });
    expect(fetched).not.toHaveBeenCalled();
    expect(ended).toHaveBeenCalledOnce();
  });
});

describe("a read", () => {
  it("tells of a session that is over", async () => {
    const ended = vi.fn();
    onSessionEnded(ended);
    vi.stubGlobal("fetch", vi.fn().mockResolvedValue(answer(401, { code: "token_expired", detail: "Its time is over." })));
    await expect(get("/devices")).rejects.toMatchObject({ code: "token_expired" });
    expect(ended).toHaveBeenCalledOnce();
  });

  it("refuses an answer that is no JSON", async () => {
    vi.stubGlobal("fetch", vi.fn().mockResolvedValue(new Response(utf8("<html>"), { status: 200 })));
    await expect(get("/devices")).rejects.toMatchObject({ code: "unreadable_answer" });
  });
});
