// A QR code as one path of an SVG: no canvas, no data: address, nothing that the content security policy would have to allow.

import { generate } from "lean-qr";
import { useMemo } from "react";
import classes from "./QrCode.module.css";

/** The quiet zone that a reader wants around the code, in modules. */
const MARGIN = 4;
/** Whole pixels for each module, so that all are the same. */
const MODULE_PX = 4;

/** Makes the path of the dark modules, one stroke for each run in a row. */
export function qrPath(text: string): { path: string; size: number } {
  const code = generate(text);
  let path = "";
  for (let y = 0; y < code.size; y += 1) {
    for (let x = 0; x < code.size; x += 1) {
      if (!code.get(x, y)) continue;
      const from = x;
      while (code.get(x, y)) x += 1;
      path += `M${from} ${y}h${x - from}v1h-${x - from}z`;
    }
  }
  return { path, size: code.size };
}

export function QrCode({ text, label }: { text: string; label: string }) {
  const { path, size } = useMemo(() => qrPath(text), [text]);
  const whole = size + 2 * MARGIN;
  return (
    <svg
      className={classes.code}
      role="img"
      aria-label={label}
      width={whole * MODULE_PX}
      height={whole * MODULE_PX}
      viewBox={`${-MARGIN} ${-MARGIN} ${whole} ${whole}`}
      shapeRendering="crispEdges"
    >
      <path d={path} />
    </svg>
  );
}
