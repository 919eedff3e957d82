// The library: what is published and run is what was shown, by its digest.

import { screen, waitFor, within } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { describe, expect, it, vi } from "vitest";
import { cbor, type Encodable } from "../../api/cbor";
import { hex } from "../../api/encoding";
import { renderApp, sessionWith } from "../../test/app";
import { content, digest, shownWith } from "../../test/assemblies";
import { violations } from "../../test/axe";
import { emptyAssembly, emptyVariable, formOf, readAssembly } from "./assemblyForm";

vi.mock("../../api/keys", async () => (await import("../../test/keys")).keys());

describe("the digest of a version", () => {
  it("is over CBOR in its shortest form", () => {
    for (const [value, text] of [
      [0, "00"],
      [23, "17"],
      [24, "1818"],
      [256, "190100"],
      [65_536, "1a00010000"],
      [4_294_967_296, "1b0000000100000000"],
      ["ü", "62c3bc"],
      [null, "f6"],
      [[true, false], "82f5f4"],
      [new Map<string, Encodable>([["b", 1], ["a", "x"]]), "a261620161616178"],
    ] as [Encodable, string][]) {
      expect(hex(cbor(value))).toBe(text);
    }
    expect(() => cbor(-1)).toThrow(RangeError);
    expect(() => cbor(0.5)).toThrow(RangeError);
  });
});

describe("what is typed", () => {
  it("becomes a version, or names what is wrong", () => {
    expect(readAssembly({ ...formOf(content), tags: "nightly, nightly , disk,", note: " x " })).toEqual({
      draft: { ...content, tags: ["nightly", "disk"] },
      note: "x",
    });
    expect(readAssembly(emptyAssembly)).toMatchObject({
      errors: { name: "One line of 1 to 120 characters without @", script: "Write a script first." },
    });
    const choice = { ...emptyVariable(1), name: "how", type: "choice" as const };
    const form = { ...formOf(content), variables: [choice] };
    expect(readAssembly(form)).toMatchObject({ errors: { variables: "Give how at least one choice" } });
    expect(readAssembly({ ...form, variables: [choice, choice] })).toMatchObject({
      errors: { variables: "Each variable needs a name of its own" },
    });
  });
});

describe("the library", () => {
  it("is listed and searched, names as text", async () => {
    const { sent, container } = await renderApp("/library", {
      "GET /library/assemblies": { items: [shownWith().standing], next_cursor: null },
    });
    const row = await screen.findByRole("row", { name: "<b>clean</b>" });
    within(row).getByText("1, draft 2");
    expect(await violations(container)).toEqual([]);
    await userEvent.type(screen.getByRole("textbox", { name: /Search names/ }), "rm");
    await waitFor(() => expect(sent.some((each) => each.path === "/library/assemblies?q=rm&in=script")).toBe(true));
    await userEvent.click(screen.getByRole("switch", { name: "Archive" }));
    await waitFor(() => expect(sent.at(-1)?.path).toBe("/library/assemblies?q=rm&in=script&state=archived"));
  });

  it("shows a version whole, compares it, and publishes exactly it", async () => {
    const { sent, container } = await renderApp("/library/a5", {
      "GET /library/assemblies/a5": shownWith(),
      "GET /library/assemblies/a5/diff": {
        assembly: "a5",
        from: 1,
        to: 2,
        fields: [{ field: "timeout_ms", from: 60_000, to: 90_000 }],
        script: "--- version 1\n+++ version 2\n@@ -1 +1 @@\n-old\n+new\u202e\n",
      },
      "POST /library/assemblies/a5/publish": { ...shownWith().standing, published: 2 },
    });
    expect((await screen.findByTestId("review-script")).textContent).toBe('rm -rf "$KEEP⟨U+200B⟩"\n');
    expect(container.querySelector("b")).toBeNull();
    screen.getByText("older files go");
    expect(screen.queryByRole("button", { name: "Run" })).toBeNull();
    expect(await violations(container)).toEqual([]);
    await userEvent.click(screen.getByRole("button", { name: "Publish version 2" }));
    await screen.findByText("Version 2 is what runs from now on.");
    expect(sent.find((each) => each.method === "POST")?.body).toEqual({ version: 2, digest });
    await userEvent.click(screen.getByRole("link", { name: "Version 2: Compare with version 1" }));
    expect((await screen.findByTestId("diff")).textContent).toContain("+new⟨U+202E⟩");
    screen.getByRole("row", { name: "timeout_ms 60000 90000" });
  });

  it("publishes and runs nothing whose digest names something else", async () => {
    await renderApp("/library/a5", {
      "GET /library/assemblies/a5": shownWith({ digest: "ef".repeat(32), state: "published" }),
    });
    await screen.findByText(/not what its digest names/);
    expect(screen.getByRole("button", { name: "Publish version 2" })).toHaveProperty("disabled", true);
    expect(screen.getByRole("button", { name: "Run" })).toHaveProperty("disabled", true);
  });

  it("runs a version with the values of its variables", async () => {
    const device = { guid: "g1", hostname: "lyon", site: "default", status: "active", presence: "online" };
    const { sent } = await renderApp("/run?assembly=a5&version=2&all=true", {
      "GET /library/assemblies/a5": shownWith({ state: "published" }),
      "GET /devices": { items: [device], next_cursor: null, total: 1 },
      "POST /jobs": { status: 409, code: "not_published", detail: "the version was never published" },
    });
    const days = await screen.findByRole("textbox", { name: /days/ });
    await userEvent.clear(days);
    await userEvent.click(screen.getByRole("button", { name: "Run" }));
    screen.getByText("It has to have a value");
    await userEvent.type(days, "30");
    await userEvent.click(screen.getByRole("button", { name: "Run" }));
    await screen.findByText("the version was never published");
    expect(sent.find((each) => each.method === "POST")?.body).toEqual({
      targets: { all: true, guids: [] },
      role: "script",
      verb: "run",
      context: "SYSTEM",
      assembly: { assembly: "a5", version: 2, digest, variables: { days: "30" } },
      args: [],
      timeout_ms: 90_000,
      expires_in_ms: 86_400_000,
    });
  });

  it("runs a version by a schedule too", async () => {
    const { sent } = await renderApp("/library/a5", {
      "GET /library/assemblies/a5": shownWith({ state: "published" }),
      "GET /devices": { items: [], next_cursor: null, total: 0 },
      "POST /schedules": { status: 409, code: "not_published", detail: "the version was never published" },
    });
    await userEvent.click(await screen.findByRole("button", { name: "Schedule" }));
    await screen.findByRole("heading", { name: "Make a schedule" });
    expect(await screen.findByLabelText("Name")).toHaveProperty("value", content.name);
    await userEvent.click(screen.getByLabelText("Cron text"));
    await userEvent.paste("0 9 * * FRI");
    await userEvent.click(screen.getByText("All devices"));
    await userEvent.click(screen.getByRole("button", { name: "Make schedule" }));
    await screen.findByText("the version was never published");
    expect(sent.find((each) => each.method === "POST")?.body).toMatchObject({
      cron: "0 9 * * FRI",
      job: { assembly: { assembly: "a5", version: 2, digest, variables: {} }, timeout_ms: 90_000 },
    });
  });

  it("offers what the rights allow", async () => {
    await renderApp("/library/a5", {
      "GET /session": sessionWith(["library.read"]),
      "GET /library/assemblies/a5": shownWith({ state: "published" }),
    });
    for (const name of ["Archive", "Edit", "Publish version 2", "Run"]) {
      expect(await screen.findByRole("button", { name })).toHaveProperty("disabled", true);
    }
  });
});
