// The web page's half of OPAQUE, one JSON line in, one JSON line out, for the test beside it.
// Usage: node opaque_client.mjs <folder whose node_modules hold the package>

import { createHmac } from "node:crypto";
import { createRequire } from "node:module";
import { join } from "node:path";
import { createInterface } from "node:readline";

const load = createRequire(join(process.argv[2], "package.json"));
const opaque = load("@serenity-kit/opaque");
await opaque.ready;
const { client } = opaque;

const steps = {
  registerStart: ({ password }) => client.startRegistration({ password }),
  registerFinish: (given) => client.finishRegistration(given),
  loginStart: ({ password }) => client.startLogin({ password }),
  loginFinish: ({ form, ...given }) => {
    const proof = client.finishLogin(given);
    if (!proof) return { refused: true };
    const key = Buffer.from(proof.sessionKey, "base64url");
    const binding = createHmac("sha256", key).update(Buffer.from(form, "base64url")).digest("base64url");
    return { ...proof, binding };
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const { step, ...given } = JSON.parse(line);
  console.log(JSON.stringify(steps[step](given)));
}
