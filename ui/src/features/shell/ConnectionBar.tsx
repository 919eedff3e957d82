import { Button } from "@mantine/core";
import { pausedSeconds } from "../../api/live";
import { clock } from "../../lib/time";
import { Icon } from "../../ui/Icon";
import { useNow } from "../../ui/now";
import { useLive } from "./live";
import classes from "./Shell.module.css";
import { words } from "./words";

/** A lost connection is a bar, not a toast. */
export function ConnectionBar() {
  const { status, live } = useLive();
  const now = useNow();
  const seconds = pausedSeconds(status, now);
  if (seconds === null) return null;
  return (
    <div className={classes.bar} role="status">
      <Icon name="alert-triangle" />
      <span>
        {live.heardAt > 0 ? words.paused(seconds, clock(live.heardAt)) : words.pausedSince(seconds)}
      </span>
      <Button size="compact-xs" variant="default" onClick={live.hurry}>
        {words.retryNow}
      </Button>
    </div>
  );
}

export function LiveMark() {
  const { status } = useLive();
  if (status.kind === "paused") return null;
  const on = status.kind === "on";
  return (
    <span className={classes.live} data-on={on || undefined}>
      <span className={classes.liveDot} aria-hidden="true" />
      {on ? words.live : words.connecting}
    </span>
  );
}
