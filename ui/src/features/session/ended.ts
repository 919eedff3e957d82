// The end of a session, here or in another tab: nothing that was read stays in memory.

import type { QueryClient } from "@tanstack/react-query";
import { destroySession } from "../../api/keys";
import { localPath } from "../../lib/localPath";
import type { makeRouter } from "../../routes";

const CHANNEL = "borealis-session";

export async function endSessionHere(
  client: QueryClient,
  router: ReturnType<typeof makeRouter>,
  { ended }: { ended: boolean },
): Promise<void> {
  const here = router.state.location;
  if (here.pathname === "/login" || here.pathname === "/setup") return;
  await destroySession().catch(() => {});
  await router.navigate({
    to: "/login",
    search: ended ? { ended: true, next: here.href === "/" ? undefined : localPath(here.href) } : {},
    replace: true,
  });
  client.clear();
}

export function tellOtherTabs(): void {
  const channel = new BroadcastChannel(CHANNEL);
  channel.postMessage("ended");
  channel.close();
}

export function onSessionEndedElsewhere(act: () => void): void {
  new BroadcastChannel(CHANNEL).onmessage = () => act();
}
