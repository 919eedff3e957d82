// Operators, roles and sites as whoever administers meets them, and what others are not offered.

import { screen, waitFor, within } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { describe, expect, it, vi } from "vitest";
import { proveAgain } from "../../api/opaque";
import { openLink } from "../../api/seeds";
import type { Role, Site, User } from "../../api/types";
import { renderApp, session, sessionWith } from "../../test/app";
import { violations } from "../../test/axe";

vi.mock("../../api/keys", async () => (await import("../../test/keys")).keys());
vi.mock("../../api/opaque", async (original) => ({
  ...(await original<typeof import("../../api/opaque")>()),
  preloadOpaque: vi.fn(),
  proveAgain: vi.fn(),
}));

const AT = "2026-11-22T10:00:00.000Z";

const ada: User = {
  id: session.operator,
  username: "ada",
  roles: ["administrator"],
  state: "active",
  created_at: AT,
  created_by: null,
  last_login_at: AT,
  link_expires_at: null,
  second_factor: true,
  passkeys: 0,
};
const bob: User = { ...ada, id: "b0", username: "bob", roles: ["viewer"], created_by: "ada", second_factor: false };
const eve: User = { ...bob, id: "e0", username: "eve", state: "deleted", roles: [] };

const administrator: Role = {
  name: "administrator",
  description: "May do everything, everywhere",
  rights: session.reach,
  max_devices: null,
  fixed: true,
  users: 1,
};
const viewer: Role = {
  name: "viewer",
  description: "Sees things",
  rights: [
    { right: "devices.read", sites: ["*"] },
    { right: "jobs.read", sites: ["oslo"] },
  ],
  max_devices: null,
  fixed: false,
  users: 1,
};
const sites: Site[] = [
  { name: "default", description: "", created_at: null },
  { name: "oslo", description: "The northern office", created_at: AT },
];
const answers = {
  "GET /users": { items: [ada, bob, eve] },
  "GET /roles": { items: [administrator, viewer] },
  "GET /sites": { items: sites },
};

describe("operators", () => {
  it("are listed, deleted ones on demand", async () => {
    const { container } = await renderApp("/operators", answers);
    await screen.findByRole("row", { name: /ada \(you\)/ });
    expect(screen.getByRole("row", { name: /bob.*Active.*viewer/ })).toBeTruthy();
    expect(screen.queryByRole("row", { name: /eve/ })).toBeNull();
    expect(await violations(container)).toEqual([]);
    await userEvent.click(screen.getByRole("switch", { name: "Show 1 deleted" }));
    expect(screen.getByRole("row", { name: /eve.*Deleted/ })).toBeTruthy();
  });

  it("are invited by a link whose secret is never sent, and which is shown once", async () => {
    const invited = { ...bob, id: "c0", username: "carol", state: "invited", link_expires_at: "2099-01-01T00:00:00.000Z" };
    const { sent } = await renderApp("/operators", { ...answers, "POST /users": invited });
    await userEvent.click(await screen.findByRole("button", { name: "Invite" }));
    const dialog = await screen.findByRole("dialog", { name: "Invite an operator" });
    const invite = within(dialog).getByRole("button", { name: "Invite" });
    await userEvent.click(invite);
    within(dialog).getByText("Choose at least one role");
    expect(await violations(dialog)).toEqual([]);
    await userEvent.type(within(dialog).getByLabelText("Name"), " Carol ");
    await userEvent.click(await within(dialog).findByRole("checkbox", { name: "viewer" }));
    await userEvent.click(invite);
    const link = (await screen.findByTestId("operator-link")).textContent ?? "";
    const secret = link.split("/setup#")[1] ?? "";
    const body = sent.find((each) => each.method === "POST")?.body;
    expect(body).toEqual({ link: (await openLink(secret)).public_key, username: "carol", roles: ["viewer"] });
    expect(JSON.stringify(sent)).not.toContain(secret);
    await userEvent.click(screen.getByRole("button", { name: "Done" }));
    await waitFor(() => expect(screen.queryByText(link)).toBeNull());
    expect(document.activeElement).toBe(screen.getByRole("button", { name: "Invite" }));
  });

  it("are invited after the password was proved once more, by the same link", async () => {
    vi.mocked(proveAgain).mockResolvedValue({ answer: {}, secret: new Uint8Array(64) });
    const replies = [{ status: 403, code: "step_up_required", detail: "too old" }, { ...bob, username: "carol", state: "invited" }];
    const { sent } = await renderApp("/operators", { ...answers, "POST /users": () => replies.shift() });
    await userEvent.click(await screen.findByRole("button", { name: "Invite" }));
    const dialog = await screen.findByRole("dialog", { name: "Invite an operator" });
    await userEvent.type(within(dialog).getByLabelText("Name"), "carol");
    await userEvent.click(await within(dialog).findByRole("checkbox", { name: "viewer" }));
    await userEvent.click(within(dialog).getByRole("button", { name: "Invite" }));
    const asked = await screen.findByRole("dialog", { name: "Prove your password once more" });
    await userEvent.type(within(asked).getByLabelText("Password"), "pw");
    await userEvent.click(within(asked).getByRole("button", { name: "Go on" }));
    const link = (await screen.findByTestId("operator-link")).textContent ?? "";
    const bodies = sent.filter((each) => each.method === "POST").map((each) => each.body);
    const { public_key } = await openLink(link.split("#")[1] ?? "");
    expect(bodies).toEqual(Array.from({ length: 2 }, () => ({ link: public_key, username: "carol", roles: ["viewer"] })));
    expect(proveAgain).toHaveBeenCalledWith("/step-up", "ada", "pw", null);
  });

  it("get other roles, are disabled with a reason, and get a link for another password", async () => {
    const { sent } = await renderApp("/operators", {
      ...answers,
      "POST /users/b0/roles": bob,
      "POST /users/b0/disable": { ...bob, state: "disabled" },
      "POST /users/b0/reset": { ...bob, link_expires_at: "2099-01-01T00:00:00.000Z" },
    });
    const post = (path: string): unknown => sent.find((each) => each.method === "POST" && each.path === path)?.body;
    await userEvent.click(await screen.findByRole("button", { name: "Manage bob" }));
    const dialog = await screen.findByRole("dialog", { name: "Operator bob" });
    expect(await violations(dialog)).toEqual([]);
    expect(within(dialog).queryByRole("button", { name: "Take second factor away" })).toBeNull();
    const save = within(dialog).getByRole("button", { name: "Save roles" });
    expect(save).toHaveProperty("disabled", true);
    await userEvent.click(await within(dialog).findByRole("checkbox", { name: "administrator" }));
    await userEvent.click(save);
    await waitFor(() => expect(post("/users/b0/roles")).toEqual({ roles: ["viewer", "administrator"] }));

    await userEvent.click(within(dialog).getByRole("button", { name: "Disable" }));
    const reason = await screen.findByLabelText("Reason");
    expect(document.activeElement).toBe(reason);
    await userEvent.type(reason, "left us");
    await userEvent.click(screen.getByRole("switch", { name: /For good/ }));
    await userEvent.click(screen.getByRole("button", { name: "Delete for good" }));
    await waitFor(() => expect(post("/users/b0/disable")).toEqual({ reason: "left us", for_good: true }));

    await userEvent.click(await screen.findByRole("button", { name: "Reset password" }));
    expect(post("/users/b0/reset")).toBeUndefined();
    await userEvent.click(screen.getByRole("button", { name: "Reset password" }));
    expect((await screen.findByTestId("operator-link")).textContent).toMatch(/\/setup#[A-Za-z0-9_-]{43}$/);
    expect(post("/users/b0/reset")).toHaveProperty("link");
  });

  it("lose a second factor only after a second click, and a refusal says why", async () => {
    const { sent } = await renderApp("/operators", {
      ...answers,
      "GET /users": { items: [ada, { ...bob, second_factor: true }] },
      "POST /users/b0/reset-factor": { status: 403, code: "exceeds_own_rights", detail: "bob holds more than you" },
    });
    await userEvent.click(await screen.findByRole("button", { name: "Manage bob" }));
    await userEvent.click(await screen.findByRole("button", { name: "Take second factor away" }));
    expect(sent.some((each) => each.method === "POST")).toBe(false);
    await userEvent.click(screen.getByRole("button", { name: "Take second factor away" }));
    await screen.findByText("bob holds more than you");
    screen.getByText("Nobody gives, changes or resets more than they hold. Ask someone who holds all of it.");
  });

  it("are only shown to whoever may not manage them", async () => {
    await renderApp("/operators", { ...answers, "GET /session": sessionWith(["users.read"]) });
    await userEvent.click(await screen.findByRole("button", { name: "Show bob" }));
    const dialog = await screen.findByRole("dialog", { name: "Operator bob" });
    expect(within(dialog).getAllByRole("button").map((each) => each.textContent || each.ariaLabel)).toEqual(["Close", "Close"]);
    expect(screen.getByRole("button", { name: "Invite", hidden: true })).toHaveProperty("disabled", true);
  });

  it("say what failed when they cannot be read", async () => {
    await renderApp("/operators", { ...answers, "GET /users": { status: 503, code: "unavailable", detail: "access is away" } });
    await screen.findByText("The operators could not be read.");
  });
});

describe("roles", () => {
  it("are made of rights, each with its sites", async () => {
    const { sent, container } = await renderApp("/operators?tab=roles", { ...answers, "POST /roles": viewer });
    await screen.findByRole("row", { name: /administrator.*Everything.*Stays as it is/ });
    screen.getByText("jobs.read@oslo");
    expect(await violations(container)).toEqual([]);
    await userEvent.click(screen.getByRole("button", { name: "Make role" }));
    const dialog = await screen.findByRole("dialog", { name: "Make a role" });
    await userEvent.type(within(dialog).getByLabelText("Name"), "night-shift");
    await userEvent.click(within(dialog).getByRole("checkbox", { name: "jobs.run" }));
    await userEvent.click(within(dialog).getByRole("checkbox", { name: "audit.read" }));
    const where = within(dialog).getByRole("combobox", { name: "Sites of jobs.run" });
    expect(within(dialog).queryByRole("combobox", { name: "Sites of audit.read" })).toBeNull();
    await userEvent.click(where);
    await userEvent.click(await screen.findByRole("option", { name: "oslo", hidden: true }));
    const limit = within(dialog).getByLabelText("Devices of a job without approval");
    await userEvent.type(limit, "many");
    await userEvent.click(within(dialog).getByRole("button", { name: "Make role" }));
    within(dialog).getByText("A whole number, or nothing");
    await userEvent.clear(limit);
    await userEvent.type(limit, "5");
    expect(await violations(dialog)).toEqual([]);
    await userEvent.click(within(dialog).getByRole("button", { name: "Make role" }));
    await waitFor(() =>
      expect(sent.find((each) => each.method === "POST")?.body).toEqual({
        name: "night-shift",
        description: "",
        rights: [
          { right: "jobs.run", sites: ["oslo"] },
          { right: "audit.read", sites: ["*"] },
        ],
        max_devices: 5,
      }),
    );
  });

  it("are changed, and a right without a site is named", async () => {
    const { sent } = await renderApp("/operators?tab=roles", { ...answers, "POST /roles/viewer": viewer });
    await userEvent.click(await screen.findByRole("button", { name: "Edit viewer" }));
    const dialog = await screen.findByRole("dialog", { name: "Role viewer" });
    await userEvent.click(within(dialog).getByRole("combobox", { name: "Sites of jobs.read" }));
    await userEvent.keyboard("{Backspace}");
    await userEvent.click(within(dialog).getByRole("button", { name: "Save" }));
    within(dialog).getByText("Choose at least one site for jobs.read.");
    await userEvent.click(within(dialog).getByRole("checkbox", { name: "jobs.read" }));
    await userEvent.click(within(dialog).getByRole("button", { name: "Save" }));
    await waitFor(() =>
      expect(sent.find((each) => each.method === "POST")?.body).toEqual({
        description: "Sees things",
        rights: [{ right: "devices.read", sites: ["*"] }],
        max_devices: null,
      }),
    );
  });

  it("show their limit, and keep it when the right to run is taken and given again", async () => {
    const runner: Role = { ...viewer, name: "runner", rights: [{ right: "jobs.run", sites: ["*"] }], max_devices: 20 };
    const { sent } = await renderApp("/operators?tab=roles", {
      ...answers,
      "GET /roles": { items: [administrator, runner] },
      "POST /roles/runner": runner,
    });
    await screen.findByRole("row", { name: /runner.*jobs\.run 20 devices/ });
    screen.getByRole("row", { name: /administrator.*no limit/ });
    await userEvent.click(screen.getByRole("button", { name: "Edit runner" }));
    const dialog = await screen.findByRole("dialog", { name: "Role runner" });
    const right = within(dialog).getByRole("checkbox", { name: "jobs.run" });
    await userEvent.click(right);
    within(dialog).getByText("Without jobs.run the role has no limit any more.");
    await userEvent.click(right);
    await userEvent.click(within(dialog).getByRole("button", { name: "Save" }));
    await waitFor(() =>
      expect(sent.find((each) => each.method === "POST")?.body).toEqual({
        description: "Sees things",
        rights: [{ right: "jobs.run", sites: ["*"] }],
        max_devices: 20,
      }),
    );
  });

  it("take no right that one does not hold as far", async () => {
    const own = sessionWith(["users.read", "roles.manage", "jobs.run"]);
    own.reach = own.reach.map((line) => (line.right === "jobs.run" ? { ...line, sites: ["oslo"] } : line));
    await renderApp("/operators?tab=roles", { ...answers, "GET /session": own });
    await userEvent.click(await screen.findByRole("button", { name: "Make role" }));
    const dialog = await screen.findByRole("dialog");
    expect(within(dialog).getByRole("checkbox", { name: "audit.read" })).toHaveProperty("disabled", true);
    await userEvent.click(within(dialog).getByRole("checkbox", { name: "jobs.run" }));
    await userEvent.click(within(dialog).getByRole("combobox", { name: "Sites of jobs.run" }));
    expect(screen.queryByRole("option", { name: "All sites", hidden: true })).toBeNull();
  });
});

describe("sites", () => {
  it("are made and described", async () => {
    const { sent, container } = await renderApp("/operators?tab=sites", {
      ...answers,
      "POST /sites": sites[1],
      "POST /sites/oslo": sites[1],
    });
    await screen.findByRole("row", { name: /default.*always there/ });
    expect(await violations(container)).toEqual([]);
    await userEvent.click(screen.getByRole("button", { name: "Make site" }));
    const dialog = await screen.findByRole("dialog");
    const make = within(dialog).getByRole("button", { name: "Make site" });
    await userEvent.type(within(dialog).getByLabelText("Name"), "Bergen");
    await userEvent.click(make);
    within(dialog).getByText(/a letter first/);
    await userEvent.clear(within(dialog).getByLabelText("Name"));
    await userEvent.type(within(dialog).getByLabelText("Name"), "bergen");
    await userEvent.click(make);
    await waitFor(() => expect(screen.queryByRole("dialog")).toBeNull());
    await userEvent.click(screen.getByRole("button", { name: "Describe oslo" }));
    const description = await screen.findByLabelText("Description");
    await userEvent.clear(description);
    await userEvent.type(description, "North");
    await userEvent.click(screen.getByRole("button", { name: "Save" }));
    await waitFor(() =>
      expect(sent.filter((each) => each.method === "POST")).toEqual([
        { method: "POST", path: "/sites", body: { name: "bergen", description: "" } },
        { method: "POST", path: "/sites/oslo", body: { description: "North" } },
      ]),
    );
  });
});

describe("the navigation", () => {
  it("offers what the rights allow", async () => {
    await renderApp("/jobs", {
      "GET /session": sessionWith(["devices.read", "jobs.read", "codes.read", "approvals.read"]),
      "GET /jobs": { items: [], next_cursor: null },
    });
    const nav = await screen.findByRole("navigation", { name: "Main" });
    const links = within(nav).getAllByRole("link").map((each) => each.textContent);
    expect(links).toEqual(["Home", "Devices", "Jobs", "Schedules", "Enrolment"]);
  });
});
