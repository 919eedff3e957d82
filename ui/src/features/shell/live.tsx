import { useQueryClient } from "@tanstack/react-query";
import { createContext, useContext, useEffect, useState, useSyncExternalStore, type ReactNode } from "react";
import { connectBrowserSocket, Live, type LiveStatus } from "../../api/live";
import { Refresher } from "./liveEvents";

const LiveContext = createContext<Live | null>(null);

/** While the socket is down, what is on the screen is read again this often. */
const POLL_MS = 10_000;

export function LiveProvider({ children }: { children: ReactNode }) {
  const client = useQueryClient();
  const [{ live, refresher }] = useState(() => {
    const events = new Refresher(client);
    const connection = new Live({
      connect: connectBrowserSocket,
      onEvent: (event) => events.take(event),
      onGap: () => void client.invalidateQueries(),
    });
    return { live: connection, refresher: events };
  });

  useEffect(() => {
    live.start();
    window.addEventListener("online", live.hurry);
    const poll = setInterval(() => {
      if (live.getStatus().kind === "paused") void client.invalidateQueries();
    }, POLL_MS);
    return () => {
      clearInterval(poll);
      window.removeEventListener("online", live.hurry);
      live.stop();
      refresher.stop();
    };
  }, [live, refresher, client]);

  return <LiveContext.Provider value={live}>{children}</LiveContext.Provider>;
}

export function useLive(): { status: LiveStatus; live: Live } {
  const live = useContext(LiveContext);
  if (!live) throw new Error("useLive needs a LiveProvider above it");
  return { status: useSyncExternalStore(live.subscribe, live.getStatus), live };
}
