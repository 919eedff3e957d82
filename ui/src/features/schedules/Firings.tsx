// When a rule fires next, or would have last month, as the server computes it.

import { SegmentedControl } from "@mantine/core";
import { keepPreviousData, useQuery } from "@tanstack/react-query";
import { useState } from "react";
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
  /** Offers what it would have done last month too. */
  withPast?: boolean;
}

export function Firings({ rule, hint = words.nextHint, skips = [], withPast = false }: FiringsProps) {
  const [isPast, setPast] = useState(false);
  const title = isPast ? (rule ? words.pastOf(rule.zone) : words.past) : rule ? words.nextOf(rule.zone) : words.next;
  return (
    <Section title={title}>
      {withPast && rule ? (
        <SegmentedControl
          size="xs"
          aria-label={words.next}
          value={isPast ? "past" : "next"}
          onChange={(value) => setPast(value === "past")}
          data={[
            { value: "next", label: words.next },
            { value: "past", label: words.past },
          ]}
        />
      ) : null}
      {rule ? (
        <List rule={rule} hint={isPast ? words.pastHint : hint} skips={skips} isPast={isPast} />
      ) : (
        <p className="dim">{words.nextNothing}</p>
      )}
    </Section>
  );
}

interface ListProps {
  rule: ScheduleRule;
  hint: string;
  skips: readonly string[];
  isPast: boolean;
}

function List({ rule, hint, skips, isPast }: ListProps) {
  const leftOut = new Set(skips.map((at) => Date.parse(at)));
  const query = useQuery({ ...previewQuery(rule, isPast), placeholderData: keepPreviousData });
  const { data, error, isPending, isPlaceholderData } = query;
  if (isPending) return <Loading rows={6} />;
  if (error) {
    return (
      <p className={classes.refused} role="status">
        {words.failedPreview} {error instanceof ApiError ? error.why : String(error)}
      </p>
    );
  }
  if (data.items.length === 0) return <p>{isPast ? words.pastNone : words.nextNone}</p>;
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
      {isPast && data.more ? <p className="dim">{words.pastMore}</p> : null}
    </>
  );
}
