// Sessions for tests.

import type { Session } from "../api/types";
import { RIGHTS, type Right } from "../lib/rights";

export const session: Session = {
  session_id: "00112233445566778899aabbccddeeff",
  operator: "ffeeddccbbaa99887766554433221100",
  username: "ada",
  expires_at: "2099-01-01T00:00:00.000Z",
  rights: RIGHTS.map(({ right }) => right),
  sites: ["*"],
  reach: RIGHTS.map(({ right }) => ({ right, sites: ["*"] })),
  second_factor: false,
  recovery_codes_left: 0,
  passkeys: 0,
};

/** The same session with these rights only, on these sites. */
export function sessionWith(rights: readonly Right[], sites: string[] = ["*"]): Session {
  return { ...session, rights: [...rights], sites, reach: rights.map((right) => ({ right, sites })) };
}
