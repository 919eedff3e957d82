// One stream of output. Short output is plain text that can be selected; long output is laid out by the window only.

import { useVirtualizer } from "@tanstack/react-virtual";
import { useEffect, useMemo, useRef, type ReactNode } from "react";
import { displayLines } from "../lib/output";
import { CopyButton } from "./CopyButton";
import classes from "./OutputPane.module.css";

const LINE_HEIGHT = 18;
const PLAIN_LINES = 1_500;

interface OutputPaneProps {
  name: string;
  label: string;
  text: string;
  note?: ReactNode;
  empty: string;
  live: boolean;
  tone?: "bad";
}

export function OutputPane({ name, label, text, note, empty, live, tone }: OutputPaneProps) {
  const lines = useMemo(() => displayLines(text), [text]);
  const scroller = useRef<HTMLDivElement>(null);
  const follow = useRef(true);
  const plain = lines.length <= PLAIN_LINES;
  const virtual = useVirtualizer({
    count: plain ? 0 : lines.length,
    getScrollElement: () => scroller.current,
    estimateSize: () => LINE_HEIGHT,
    overscan: 20,
  });

  useEffect(() => {
    const box = scroller.current;
    if (box && live && follow.current) box.scrollTop = box.scrollHeight;
  }, [lines, live]);

  return (
    <section className={classes.pane} aria-label={label} data-empty={lines.length === 0 || undefined}>
      <header className={classes.header}>
        <h2 data-tone={tone}>{name}</h2>
        <span className="dim">{note}</span>
        <span className={classes.actions}>{text === "" ? null : <CopyButton text={text} label="Copy" />}</span>
      </header>
      <div
        ref={scroller}
        className={classes.scroller}
        role="log"
        aria-live="off"
        aria-label={name}
        tabIndex={0}
        onScroll={(event) => {
          const box = event.currentTarget;
          follow.current = box.scrollHeight - box.scrollTop - box.clientHeight < 24;
        }}
      >
        {lines.length === 0 ? <p className={classes.empty}>{empty}</p> : null}
        {plain ? (
          <pre className={classes.text}>{lines.join("\n")}</pre>
        ) : (
          <div className={classes.window} style={{ height: virtual.getTotalSize() }}>
            {virtual.getVirtualItems().map((item) => (
              <pre key={item.key} className={classes.line} style={{ transform: `translateY(${item.start}px)` }}>
                {lines[item.index]}
              </pre>
            ))}
          </div>
        )}
      </div>
    </section>
  );
}
