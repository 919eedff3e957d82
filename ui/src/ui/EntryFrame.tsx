import { useEffect, type ReactNode } from "react";
import classes from "./EntryFrame.module.css";

/** The frame of the pages before log-in. */
export function EntryFrame({ title, lead, children }: { title: string; lead: ReactNode; children: ReactNode }) {
  useEffect(() => {
    document.title = `${title} · Borealis`;
  }, [title]);
  return (
    <main className={classes.frame}>
      <div className={classes.card}>
        <div className={classes.brand}>
          <img src="/icon.svg" width={30} height={30} alt="" />
          <span>Borealis</span>
        </div>
        <h1>{title}</h1>
        <p className={classes.lead}>{lead}</p>
        {children}
      </div>
    </main>
  );
}
