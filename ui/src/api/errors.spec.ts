import { describe as group, expect, it } from "vitest";
import { ApiError, describe, endsSession, fromProblem, networkError } from "./errors";

group("a problem", () => {
  it("tells what, why, what to do, code and request id", () => {
    const error = fromProblem(
      403,
      { code: "right_missing", detail: "You do not hold the right jobs.run.", retry: "never", request_id: "r1" },
      null,
    );
    expect(describe("The job was not submitted.", error)).toEqual({
      what: "The job was not submitted.",
      why: "You do not hold the right jobs.run.",
      todo: "Ask someone who administers Borealis to give you this right.",
      code: "right_missing",
      requestId: "r1",
    });
  });

  it("falls back to its retry class for a code that is not known here", () => {
    const later = describe("x", fromProblem(503, { code: "something_new", title: "t", retry: "later" }, null));
    expect(later.todo).toBe("Try again in a moment.");
    expect(describe("x", fromProblem(409, { code: "other_new", retry: "refresh" }, null)).todo).toMatch(/^Reload/);
  });

  it("survives an answer that is no problem at all", () => {
    expect(fromProblem(502, null, "h1")).toMatchObject({ code: "internal", status: 502, requestId: "h1" });
    expect(fromProblem(404, "<html>", null).code).toBe("unreadable_answer");
    expect(fromProblem(400, { code: 7, detail: {} }, null).why).toBe("The server answered with status 400.");
  });

  it("reads plain errors too", () => {
    expect(describe("x", new Error("boom")).why).toBe("boom");
    expect(describe("x", networkError()).todo).toMatch(/^Check the network/);
  });
});

group("the end of a session", () => {
  it("is told by token codes only", () => {
    expect(endsSession(fromProblem(401, { code: "token_expired" }, null))).toBe(true);
    expect(endsSession(fromProblem(401, { code: "token_revoked" }, null))).toBe(true);
    expect(endsSession(new ApiError("session_key_missing", "", 0, "never", null))).toBe(true);
    expect(endsSession(fromProblem(401, { code: "signature_expired" }, null))).toBe(false);
    expect(endsSession(fromProblem(403, { code: "right_missing" }, null))).toBe(false);
    expect(endsSession(networkError())).toBe(false);
  });
});
