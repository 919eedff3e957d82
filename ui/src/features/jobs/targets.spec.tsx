// On which devices a job would be: asked of the server as one types, shown before anything is sent.

import { screen, waitFor, within } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { describe, expect, it, vi } from "vitest";
import type { JobPreview } from "../../api/types";
import { renderApp, sessionWith } from "../../test/app";
import { violations } from "../../test/axe";
import { AskedView } from "./AskedView";

vi.mock("../../api/keys", async () => (await import("../../test/keys")).keys());
vi.mock("../../ui/CodeEditor", () => ({
  default: ({ label, value, onChange }: { label: string; value: string; onChange: (text: string) => void }) => (
    <textarea aria-label={label} value={value} onChange={(event) => onChange(event.currentTarget.value)} />
  ),
}));

const GUID = "00000000-0000-4000-8000-000000000001";
const reason = "its agent acts as CURRENTUSER, and the job asks for SYSTEM";
const preview: JobPreview = {
  devices_total: 3,
  online: 1,
  unable: 1,
  awaiting_approval: false,
  refused: null,
  items: [
    { guid: GUID, hostname: "<b>odd</b>", site: "oslo", online: false, unable: { code: "order_wrong_context", reason } },
    { guid: GUID.replace("1", "2"), hostname: "web-2", site: "oslo", online: true, unable: null },
    { guid: GUID.replace("1", "3"), hostname: "web-3", site: null, online: false, unable: null },
  ],
  next_cursor: null,
};
const devices = {
  items: [{ guid: GUID, hostname: "web-1", site: "oslo", status: "active", presence: "online" }],
  next_cursor: null,
  total: 1,
};

/** What was asked of the preview, oldest first. */
function asked(sent: readonly { path: string }[]): Record<string, string>[] {
  return sent
    .filter((each) => each.path.startsWith("/jobs/preview?"))
    .map((each) => Object.fromEntries(new URLSearchParams(each.path.split("?")[1])));
}

describe("the devices of a job", () => {
  it("are those of a site that pass a filter, less some: shown first, and submitted exactly so", async () => {
    const job = "0000000000000000000000000000000a";
    const { sent, container, router } = await renderApp("/run", {
      "GET /devices": devices,
      "GET /jobs/preview": preview,
      "POST /jobs": { job, runs_total: 2 },
    });
    await userEvent.click(await screen.findByText("Sites"));
    await userEvent.click(screen.getByRole("combobox", { name: "Sites" }));
    await userEvent.click(await screen.findByRole("option", { name: "oslo", hidden: true }));
    await userEvent.click(screen.getByLabelText("Only those with"));
    await userEvent.paste("hostname = web-*");
    await userEvent.click(screen.getByRole("combobox", { name: "But not" }));
    await userEvent.click(await screen.findByRole("option", { name: "web-1 (online)", hidden: true }));
    await waitFor(() =>
      expect(asked(sent).at(-1)).toEqual({ context: "SYSTEM", limit: "500", sites: "oslo", filter: "hostname = web-*", except: GUID }),
    );
    await screen.findByText("3 devices: 1 online, 2 once back. 1 device cannot run it.");
    expect(await violations(container)).toEqual([]);
    await userEvent.click(screen.getByRole("button", { name: "Dry run" }));
    const dialog = await screen.findByRole("dialog", { name: "Dry run" });
    within(dialog).getByRole("row", { name: `<b>odd</b>: ${reason}` });
    within(dialog).getByText("web-2");
    expect(await violations(dialog)).toEqual([]);
    expect(sent.some((each) => each.method === "POST")).toBe(false);
    await userEvent.click(within(dialog).getByRole("button", { name: "Close" }));

    await userEvent.click(await screen.findByRole("textbox", { name: "Script" }));
    await userEvent.paste("true");
    await userEvent.click(screen.getByRole("button", { name: "Run" }));
    await waitFor(() => expect(router.state.location.pathname).toBe(`/jobs/${job}`));
    expect(sent.find((each) => each.method === "POST")?.body).toMatchObject({
      targets: { all: false, guids: [], sites: ["oslo"], filter: "hostname = web-*", except: [GUID] },
      script: "true",
    });
  });

  it("are not told where the filter cannot be read: the server says where", async () => {
    await renderApp("/run?all=true", {
      "GET /devices": devices,
      "GET /jobs/preview": (url: URL) =>
        url.searchParams.has("filter") ? { status: 422, code: "filter_invalid", detail: "at character 6 a value was expected" } : preview,
    });
    await screen.findByText(/^3 devices: 1 online/);
    await userEvent.click(screen.getByLabelText("Only those with"));
    await userEvent.paste("os = ");
    await screen.findByText("at character 6 a value was expected");
    expect(screen.getByTestId("meant").textContent).toBe("");
    expect(screen.queryByRole("button", { name: "Dry run" })).toBeNull();
  });

  it("are refused, or wait for approval, before they are submitted", async () => {
    const refused = { code: "device_quarantined", reason: "device web-1 is quarantined" };
    const { sent } = await renderApp(`/run?devices=${GUID}`, {
      "GET /devices": devices,
      "GET /jobs/preview": { ...preview, awaiting_approval: true, refused },
      "GET /session": { ...sessionWith(["jobs.run", "devices.read"]), reach: [{ right: "jobs.run", sites: ["*"], max_devices: 2 }] },
    });
    await screen.findByText(/Waits for another operator's approval: you may run on 2 devices alone\./);
    screen.getByText("It would be refused: device web-1 is quarantined");
    expect(asked(sent)).toEqual([{ context: "SYSTEM", limit: "500", devices: GUID }]);
  });

  it("are not asked for by whoever may not run anything", async () => {
    const { sent } = await renderApp(`/run?devices=${GUID}`, { "GET /devices": devices, "GET /session": sessionWith(["devices.read"]) });
    await screen.findByText("1 device: 1 online.");
    expect(asked(sent)).toEqual([]);
  });
});

describe("targets that somebody else asks for", () => {
  it("are told in words, all of them, or as they stand", async () => {
    const { render } = await import("@testing-library/react");
    const { Providers } = await import("../shell/Providers");
    const textOf = (targets: unknown): string[] => {
      const view = render(
        <Providers nonce="">
          <AskedView members={new Map([["targets", targets]])} />
        </Providers>,
      );
      const shown = screen.getByText("Targets").nextElementSibling;
      const lines = shown?.querySelector("code") ? [shown.textContent ?? ""] : [...(shown?.children ?? [])].map((line) => line.textContent ?? "");
      view.unmount();
      return lines;
    };
    expect(textOf({ all: true, guids: [] })).toEqual(["All devices"]);
    expect(textOf({ all: false, guids: [GUID] })).toEqual(["1 device by name"]);
    expect(textOf({ sites: ["oslo", "ber\u200bgen"], filter: "tag = web", except: [GUID] })).toEqual([
      "All of oslo, ber⟨U+200B⟩gen",
      'Only those with "tag = web"',
      "Without 1 device by name",
    ]);
    expect(textOf({ filter: "online" })).toEqual(["All devices", 'Only those with "online"']);
    expect(textOf({ all: "true", guids: [] })).toEqual(['{"all":"true","guids":[]}']);
    expect(textOf({ all: true, groups: ["x"] })).toEqual(['{"all":true,"groups":["x"]}']);
    expect(textOf(undefined)).toEqual(["0 devices by name"]);
  });
});
