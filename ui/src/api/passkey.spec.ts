// @vitest-environment node
import { describe, expect, it } from "vitest";
import { fromHex, hex, utf8 } from "./encoding";
import { challengeOf, type Asked } from "./passkey";
import { actOf } from "./signing";
import vector from "./signing.vector.json";

const [request] = vector.requests;
if (!request) throw new Error("the vector is empty");
const { passkey } = vector;
const own = { session_id: request.session_id, session_key: fromHex(request.public_key) };
const act = { ...request, body: utf8(request.body) };

describe("the challenge of a passkey", () => {
  it.each<[string, Asked, string]>([
    ["to be made", { for: "register", ...own }, passkey.register],
    ["to log in", { for: "log-in", session_key: own.session_key }, passkey.log_in],
    ["to be there once more", { for: "step-up", ...own, act: null }, passkey.step_up],
    ["for one act", { for: "step-up", ...own, act: fromHex(passkey.act) }, passkey.step_up_for_act],
  ])("is the vector's %s", async (_, asked, wanted) => {
    expect(hex(await challengeOf(asked, fromHex(passkey.nonce)))).toBe(wanted);
  });

  it("names the act by all that makes it the one it is", async () => {
    expect(hex(await actOf(act))).toBe(passkey.act);
    for (const change of [
      { method: "GET" },
      { path: `${act.path}?a=1` },
      { body: utf8(`${request.body} `) },
      { session_id: act.command_id },
      { command_id: act.session_id },
    ]) {
      // One after the other, so that a failure names its change.
      // oxlint-disable-next-line no-await-in-loop
      expect(hex(await actOf({ ...act, ...change })), JSON.stringify(change)).not.toBe(passkey.act);
    }
  });
});
