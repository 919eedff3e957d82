import type { ReactNode } from "react";
import type { Mark, Shape } from "../lib/states";
import classes from "./StateMark.module.css";

const SHAPES: Readonly<Record<Shape, ReactNode>> = {
  dot: <circle cx="6" cy="6" r="4.5" fill="currentColor" stroke="none" />,
  ring: <circle cx="6" cy="6" r="4" />,
  half: (
    <>
      <circle cx="6" cy="6" r="4" />
      <path d="M6 2a4 4 0 0 1 0 8z" fill="currentColor" stroke="none" />
    </>
  ),
  check: <path d="M2 6.5 4.8 9.2 10 3" />,
  cross: <path d="M2.8 2.8 9.2 9.2M9.2 2.8 2.8 9.2" />,
  clock: (
    <>
      <circle cx="6" cy="6" r="4.3" />
      <path d="M6 3.4V6l1.8 1.2" />
    </>
  ),
  bar: <path d="M2.5 6h7" />,
  play: <path d="M3.5 2.2 9.5 6 3.5 9.8z" fill="currentColor" stroke="none" />,
  bolt: <path d="M7 1.5 3 6.8h3L5 10.5l4-5.3H6z" fill="currentColor" stroke="none" />,
  ban: (
    <>
      <circle cx="6" cy="6" r="4.3" />
      <path d="M3 3l6 6" />
    </>
  ),
};

/** A state as shape and word. */
export function StateMark({ mark, hint }: { mark: Mark; hint?: string }) {
  return (
    <span className={classes.mark} data-tone={mark.tone} title={hint}>
      <svg width="12" height="12" viewBox="0 0 12 12" aria-hidden="true" fill="none" stroke="currentColor">
        {SHAPES[mark.shape]}
      </svg>
      <span className={classes.word}>{mark.label}</span>
    </span>
  );
}
