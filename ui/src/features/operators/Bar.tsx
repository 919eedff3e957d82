import type { ReactNode } from "react";
import classes from "./Operators.module.css";

/** What stands above a tab's list: a word about it, and what can be done. */
export function Bar({ note, children }: { note?: string; children: ReactNode }) {
  return (
    <div className={classes.bar}>
      {note ? <span className="dim">{note}</span> : null}
      <div className={classes.barActions}>{children}</div>
    </div>
  );
}
