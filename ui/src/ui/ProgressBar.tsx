import { RUN_STATES, type RunState } from "../api/types";
import { RUN_MARKS } from "../lib/states";
import { count } from "../lib/units";
import classes from "./ProgressBar.module.css";

const ORDER: readonly RunState[] = [
  "succeeded",
  "failed",
  "timed_out",
  "refused",
  "interrupted",
  "expired",
  "cancelled",
  "running",
  "delivered",
  "queued",
];

/** Says in words what the bar shows. */
export function progressText(counts: Partial<Record<RunState, number>>): string {
  return RUN_STATES.filter((state) => (counts[state] ?? 0) > 0)
    .map((state) => `${count(counts[state] ?? 0)} ${RUN_MARKS[state].label.toLowerCase()}`)
    .join(", ");
}

/** Done, failed, running and waiting as segments of one bar. */
export function ProgressBar({
  counts,
  total,
  size = "sm",
}: {
  counts: Partial<Record<RunState, number>>;
  total: number;
  size?: "sm" | "md";
}) {
  return (
    <div className={classes.bar} data-size={size} role="img" aria-label={progressText(counts)} title={progressText(counts)}>
      {ORDER.filter((state) => (counts[state] ?? 0) > 0).map((state) => (
        <span
          key={state}
          data-tone={RUN_MARKS[state].tone}
          data-state={state}
          style={{ flexGrow: (counts[state] ?? 0) / Math.max(total, 1) }}
        />
      ))}
    </div>
  );
}
