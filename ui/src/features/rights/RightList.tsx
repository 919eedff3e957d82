import type { RightOnSites } from "../../api/types";
import { EVERYWHERE, RIGHTS, rightText } from "../../lib/rights";
import classes from "./Rights.module.css";
import { words } from "./words";

/** Rights in few words. */
export function RightList({ rights }: { rights: readonly RightOnSites[] }) {
  if (rights.length === 0) return <span className="dim">{words.nothingHeld}</span>;
  const everything = rights.length >= RIGHTS.length && rights.every((line) => line.sites.includes(EVERYWHERE) && line.max_devices == null);
  if (everything) return <>{words.everything}</>;
  return (
    <ul className={classes.chips}>
      {rights.map((line) => (
        <li key={`${rightText(line)} ${line.max_devices}`}>
          {rightText(line)}
          {line.max_devices == null ? null : ` ${words.upTo(line.max_devices)}`}
        </li>
      ))}
    </ul>
  );
}
