// The pages of the product, in the order of the navigation. What an operator may not read is not offered.

import type { Session } from "../../api/types";
import { pageCan } from "../../lib/can";
import type { IconName } from "../../ui/Icon";
import { words } from "./words";

interface PageEntry {
  to: string;
  icon: IconName;
  label: string;
  can?: (session: Session | undefined) => boolean;
}

const PAGES = [
  { to: "/", icon: "home", label: words.pages.home },
  { to: "/devices", icon: "device-desktop", label: words.pages.devices, can: pageCan.devices },
  { to: "/run", icon: "player-play", label: words.pages.run, can: pageCan.run },
  { to: "/jobs", icon: "list-details", label: words.pages.jobs, can: pageCan.jobs },
  { to: "/schedules", icon: "calendar", label: words.pages.schedules, can: pageCan.jobs },
  { to: "/library", icon: "book", label: words.pages.library, can: pageCan.library },
  { to: "/enrolment", icon: "key", label: words.pages.enrolment, can: pageCan.enrolment },
  { to: "/operators", icon: "users", label: words.pages.operators, can: pageCan.operators },
  { to: "/audit", icon: "history", label: words.pages.audit, can: pageCan.audit },
] as const satisfies readonly PageEntry[];

export function pagesFor(session: Session | undefined): (typeof PAGES)[number][] {
  return PAGES.filter((page) => !("can" in page) || page.can(session));
}
