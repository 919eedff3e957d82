// The audit: looking for records, reading one, verifying the logs, and the commands that export.

import { screen, waitFor, within } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { describe, expect, it, vi } from "vitest";
import type { AuditEntry, AuditPiece } from "../../api/types";
import { renderApp, sessionWith } from "../../test/app";
import { violations } from "../../test/axe";
import { filterOptions, fromLocalInput, isEmpty, readFilter, toLocalInput } from "./filter";
import { actorFilter, who } from "./record";

vi.mock("../../api/keys", async () => (await import("../../test/keys")).keys());

const AT = "2026-11-22T10:00:00.000Z";

const invited: AuditEntry = {
  service: "access",
  position: 7,
  at: AT,
  actor: { kind: "operator", id: "a1", name: "ada" },
  session: "51",
  grant: null,
  address: "192.0.2.1",
  via: null,
  action: "POST /api/v1/users",
  verb: "users-invite",
  objects: ["operator/b0", "link/<b>x</b>"],
  outcome: "accepted",
  correlation: "c0",
  command: "d0",
  more: 0,
};
const refused: AuditEntry = {
  ...invited,
  position: 8,
  actor: { kind: "anonymous", id: null, name: null },
  session: null,
  verb: "login",
  objects: [],
  outcome: "login_failed",
  more: 3,
};
const page = { items: [refused, invited], cursor: "desc.access-7", next_cursor: null, missing: [] };

describe("the audit", () => {
  it("lists records, and shows one whole, as text", async () => {
    const { container } = await renderApp("/audit", { "GET /audit": page });
    const row = await screen.findByRole("row", { name: "users-invite, ada, Accepted" });
    const other = screen.getByRole("row", { name: "login, a stranger, login_failed" });
    within(other).getByText("and 3 more");
    expect(await violations(container)).toEqual([]);
    await userEvent.click(row);
    const dialog = await screen.findByRole("dialog", { name: "Record" });
    within(dialog).getByText("link/<b>x</b>");
    within(dialog).getByText("access, position 7");
    expect(within(dialog).queryByText("Grant")).toBeNull();
    expect(dialog.querySelector("b")).toBeNull();
    expect(await violations(dialog)).toEqual([]);
  });

  it("is looked through by what is typed, chosen, and shared with a record", async () => {
    const { sent, router } = await renderApp("/audit?outcome=refused", { "GET /audit": page });
    const asked = (): string => sent.filter((each) => each.path.startsWith("/audit")).at(-1)?.path ?? "";
    await screen.findByRole("row", { name: /users-invite/ });
    expect(asked()).toBe("/audit?outcome=refused&limit=100");
    await userEvent.type(screen.getByLabelText("Who"), "ada{Enter}");
    await waitFor(() => expect(asked()).toBe("/audit?actor=ada&outcome=refused&limit=100"));
    await userEvent.type(screen.getByLabelText("What"), "users");
    await userEvent.tab();
    await waitFor(() => expect(asked()).toBe("/audit?actor=ada&action=users&outcome=refused&limit=100"));
    expect(document.activeElement).toBe(screen.getByLabelText("Object"));
    screen.getByRole("row", { name: /^login/ }).focus();
    await userEvent.keyboard("{Enter}");
    const dialog = await screen.findByRole("dialog", { name: "Record" });
    await userEvent.click(within(dialog).getByRole("button", { name: "Only these with the outcome login_failed" }));
    await waitFor(() => expect(asked()).toContain("outcome=login_failed"));
    expect(screen.getByRole("combobox", { name: "Outcome" })).toHaveProperty("value", "login_failed");
    await userEvent.click(screen.getByRole("button", { name: "Clear filters" }));
    await waitFor(() => expect(asked()).toBe("/audit?limit=100"));
    expect(router.state.location.search).toEqual({});
  });

  it("says which services are left out, and that nothing matches", async () => {
    await renderApp("/audit?actor=nobody", { "GET /audit": { ...page, items: [], missing: ["signing"] } });
    await screen.findByText("Nothing of this kind is recorded");
    screen.getByText(/Without the records of signing/);
    expect(screen.getAllByRole("button", { name: "Clear filters" })).toHaveLength(2);
  });

  it("goes on where a page ended", async () => {
    const { sent } = await renderApp("/audit", {
      "GET /audit": (url: URL) =>
        url.searchParams.get("cursor") === "next" ? { ...page, items: [invited] } : { ...page, items: [refused], next_cursor: "next" },
    });
    await screen.findByRole("row", { name: /users-invite/ });
    expect(sent.filter((each) => each.path === "/audit?limit=100&cursor=next")).toHaveLength(1);
  });

  it("is not read without the right for every site", async () => {
    const { sent } = await renderApp("/audit", { "GET /session": sessionWith(["audit.read"], ["oslo"]), "GET /audit": page });
    await screen.findByText("You hold the right audit.read for some sites only.");
    expect(sent.some((each) => each.path.startsWith("/audit"))).toBe(false);
    expect(screen.queryByRole("link", { name: "Audit" })).toBeNull();
  });

  it("is exported by a command that looks for the same", async () => {
    await renderApp("/audit?object=it's&to=2026-11-22T10:00:00Z", { "GET /audit": page });
    await userEvent.click(await screen.findByRole("button", { name: "Export" }));
    const command = await screen.findByTestId("export-command");
    expect(command.textContent).toBe(
      String.raw`borealis audit export --until '2026-11-22T10:00:00.000Z' --object 'it'\''s' --to-file audit.jsonl`,
    );
  });
});

describe("verifying", () => {
  const piece: AuditPiece = {
    service: "access",
    position: 5,
    hash: "ab",
    checked: 5,
    dropped: 0,
    end: true,
    finding: null,
    countersigned: { position: 5, hash: "ab", at: AT },
    countersigned_error: null,
  };

  it("goes through every log, piece by piece, and names what is wrong", async () => {
    const answers: Record<string, (url: URL) => unknown> = {
      access: (url) => (url.searchParams.get("position") ? { ...piece, checked: 2 } : { ...piece, end: false, countersigned: null }),
      enrollment: () => ({ ...piece, finding: { position: 3, what: "<b>altered</b>" } }),
      signing: () => ({ status: 503, code: "unavailable", detail: "signing is away" }),
      scheduler: () => ({ ...piece, countersigned: null, countersigned_error: "unavailable" }),
      inventory: () => ({ ...piece, countersigned: null }),
      library: () => piece,
    };
    const { sent } = await renderApp("/audit", {
      "GET /audit": page,
      "GET /audit/verify": (url: URL) => answers[url.searchParams.get("service") ?? ""]?.(url),
    });
    await userEvent.click(await screen.findByRole("button", { name: "Verify" }));
    const dialog = await screen.findByRole("dialog", { name: "Verify the logs" });
    await within(dialog).findByRole("row", { name: /library Whole 5/ });
    within(dialog).getByRole("row", { name: /access Whole 7 up to 5/ });
    within(dialog).getByRole("row", { name: /enrollment Not whole/ });
    within(dialog).getByText("Position 3: <b>altered</b>");
    within(dialog).getByRole("row", { name: /signing Not checked/ });
    within(dialog).getByRole("row", { name: /scheduler Not checked/ });
    within(dialog).getByText("Not compared with a countersigned head: unavailable");
    within(dialog).getByRole("row", { name: /inventory Whole 5 nothing yet/ });
    expect(sent.some((each) => each.path === "/audit/verify?service=access&position=5&hash=ab")).toBe(true);
    expect(await violations(dialog)).toEqual([]);
  });
});

describe("a filter", () => {
  it("takes from the address bar what it knows", () => {
    expect(readFilter({ actor: " ada ", action: "", object: 7, outcome: {}, from: "yesterday", x: "y" })).toEqual({
      actor: "ada",
      object: "7",
    });
    expect(readFilter({ from: "2026-11-22T10:00:00Z" })).toEqual({ from: AT });
    expect(readFilter({ actor: "a".repeat(300) }).actor).toHaveLength(200);
    expect(isEmpty(readFilter({}))).toBe(true);
  });

  it("keeps an instant through the field of date and time", () => {
    expect(fromLocalInput(toLocalInput(AT))).toBe(AT);
    expect([toLocalInput(undefined), toLocalInput("x"), fromLocalInput("")]).toEqual(["", "", undefined]);
  });

  it("follows without an end", () => {
    const filter = { from: AT, to: AT, actor: "ada", action: "jobs", outcome: "refused" };
    expect(filterOptions(filter, true)).toBe(` --from '${AT}' --actor 'ada' --outcome 'refused' --action 'jobs'`);
    expect(filterOptions(filter, false)).toContain(` --until '${AT}'`);
    expect(filterOptions({}, false)).toBe("");
  });
});

describe("an actor", () => {
  it.each([
    [{ kind: "operator", id: "a1", name: "ada" }, "ada", "a1"],
    [{ kind: "device", id: "g1", name: null }, "g1", "g1"],
    [{ kind: "service", id: "scheduler", name: null }, "service scheduler", "scheduler"],
    [{ kind: "anonymous", id: null, name: null }, "a stranger", "anonymous"],
    [{ kind: "service", id: null, name: null }, "service", "service"],
  ] as const)("%j reads %s", (actor, text, filter) => {
    expect([who(actor), actorFilter(actor)]).toEqual([text, filter]);
  });
});
