// Which rights, and where each of them reaches: for roles and for API tokens.

import { Checkbox, MultiSelect } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import type { Session } from "../../api/types";
import { holds, sitesOf } from "../../lib/can";
import { EVERYWHERE, needsEverywhere, RIGHTS, tidySites, type RightsDraft } from "../../lib/rights";
import { sitesQuery } from "../operators/queries";
import { sessionQuery } from "../session/queries";
import classes from "./Rights.module.css";
import { words } from "./words";

interface RightsEditorProps {
  draft: RightsDraft;
  error?: string | undefined;
  /** Leaves out what the operator does not hold, instead of showing that it cannot be given. */
  onlyHeld?: boolean;
  onChange: (draft: RightsDraft) => void;
}

/** The sites that the operator may give a right on: all, or those that the own right reaches. */
function reachable(session: Session | undefined, right: string): readonly string[] {
  const own = sitesOf(session, right);
  return needsEverywhere(right) && !own.includes(EVERYWHERE) ? [] : own;
}

export function RightsEditor({ draft, error, onlyHeld = false, onChange }: RightsEditorProps) {
  const session = useQuery(sessionQuery).data;
  const sites = useQuery(sitesQuery).data ?? [];
  const rows = RIGHTS.filter(({ right }) => !onlyHeld || reachable(session, right).length > 0);

  const put = (right: string, chosen: readonly string[] | null): void => {
    const next: Record<string, readonly string[]> = { ...draft };
    if (chosen) next[right] = chosen;
    else delete next[right];
    onChange(next);
  };
  const optionsFor = (right: string): { value: string; label: string }[] => {
    const own = reachable(session, right);
    const names = own.includes(EVERYWHERE) ? [EVERYWHERE, ...sites.map((site) => site.name)] : own;
    // What a role has already stays choosable, so that it can be taken away.
    const all = new Set([...names, ...(draft[right] ?? [])]);
    return [...all].map((value) => ({ value, label: value === EVERYWHERE ? words.allSites : value }));
  };

  return (
    <fieldset className={classes.editor}>
      <legend>{words.legend}</legend>
      <ul className={classes.list}>
        {rows.map(({ right, does }) => {
          const chosen = draft[right];
          const own = reachable(session, right);
          const refused = own.length === 0 && chosen === undefined;
          return (
            <li key={right} className={classes.row} title={refused ? words.notHeld : undefined}>
              <Checkbox
                label={right}
                description={does}
                checked={chosen !== undefined}
                disabled={refused || !holds(session, right)}
                onChange={(event) => put(right, event.currentTarget.checked ? own : null)}
              />
              {chosen === undefined ? null : needsEverywhere(right) ? (
                <span className="dim">{words.everywhere}</span>
              ) : (
                <MultiSelect
                  size="xs"
                  aria-label={words.sitesOf(right)}
                  placeholder={chosen.length === 0 ? words.chooseSites : ""}
                  data={optionsFor(right)}
                  value={[...chosen]}
                  hidePickedOptions
                  searchable
                  nothingFoundMessage={words.noSite}
                  error={chosen.length === 0}
                  comboboxProps={{ transitionProps: { duration: 0 } }}
                  onChange={(next) => put(right, tidySites(next))}
                />
              )}
            </li>
          );
        })}
      </ul>
      {error ? (
        <p className={classes.error} role="alert">
          {error}
        </p>
      ) : null}
    </fieldset>
  );
}
