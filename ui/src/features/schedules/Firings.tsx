// When a rule fires next, as the server computes it.

import { keepPreviousData, useQuery } from "@tanstack/react-query";
import { ApiError } from "../../api/errors";
import type { ScheduleRule } from "../../api/types";
import { Instant } from "../../ui/Instant";
import { Loading } from "../../ui/Loading";
import { Section } from "../../ui/Page";
import { previewQuery } from "./queries";
import classes from "./Schedules.module.css";
import { words } from "./words";

interface FiringsProps {
  /** Null while nothing is typed that could fire. */
  rule: ScheduleRule | null;
  hint?: string;
  /** Instants that are left out because an operator said so. */
  skips?: readonly string[];
}

export function Firings({ rule, hint = words.nextHint, skips = [] }: FiringsProps) {
  return (
    <Section title={rule ? words.nextOf(rule.zone) : words.next}>
      {rule ? <List rule={rule} hint={hint} skips={skips} /> : <p className="dim">{words.nextNothing}</p>}
    </Section>
  );
}

function List({ rule, hint, skips }: Required<FiringsProps> & { rule: ScheduleRule }) {
  const leftOut = new Set(skips.map((at) => Date.parse(at)));
  const { data, error, isPending, isPlaceholderData } = useQuery({ ...previewQuery(rule), placeholderData: keepPreviousData });
  if (isPending) return <Loading rows={6} />;
  if (error) {
    return (
      <p className={classes.refused} role="status">
        {words.failedPreview} {error instanceof ApiError ? error.why : String(error)}
      </p>
    );
  }
  if (data.items.length === 0) return <p>{words.nextNone}</p>;
  return (
    <>
      <p className="dim">{hint}</p>
      <ol className={classes.firings} aria-busy={isPlaceholderData} data-testid="firings">
        {data.items.map((firing) => (
          <li key={firing.at}>
            <span className="mono">{firing.local}</span>
            <span className="dim">{leftOut.has(Date.parse(firing.at)) ? words.leftOut : <Instant at={firing.at} />}</span>
            {firing.note ? <span className={classes.firingNote}>{firing.note}</span> : null}
          </li>
        ))}
      </ol>
    </>
  );
}
