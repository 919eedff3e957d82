import { hover, relative } from "../lib/time";
import { useNow } from "./now";

/** An instant: relative under a day, absolute after; the pointer reveals zone time and UTC. */
export function Instant({ at }: { at: string | null | undefined }) {
  const now = useNow();
  return (
    <time className="nowrap" dateTime={at ?? undefined} title={hover(at)}>
      {relative(at, now)}
    </time>
  );
}
