import { Button } from "@mantine/core";
import type { ReactNode } from "react";
import type { AuditEntry } from "../../api/types";
import { outcomeMark } from "../../lib/states";
import { absolute } from "../../lib/time";
import { Dialog } from "../../ui/Dialog";
import form from "../../ui/Form.module.css";
import { StateMark } from "../../ui/StateMark";
import classes from "./Audit.module.css";
import type { AuditFilter } from "./filter";
import { actorFilter, who } from "./record";
import { words } from "./words";

interface RecordDialogProps {
  entry: AuditEntry;
  /** Looks for what this record shares with others. */
  onOnly: (only: AuditFilter) => void;
  onClose: () => void;
}

/** One record, whole. Texts of devices and strangers are text. */
export function RecordDialog({ entry, onOnly, onClose }: RecordDialogProps) {
  return (
    <Dialog title={words.recordTitle} size="lg" onClose={onClose}>
      <dl className={form.facts}>
        <Fact name={words.at}>
          {absolute(entry.at)} <span className="dim mono">{entry.at}</span>
        </Fact>
        <Fact name={words.actor} only={words.by(who(entry.actor))} onOnly={() => onOnly({ actor: actorFilter(entry.actor) })}>
          {who(entry.actor)}{" "}
          {entry.actor.id ? (
            <span className="dim mono">
              {entry.actor.kind} {entry.actor.id}
            </span>
          ) : null}
        </Fact>
        <Fact name={words.address}>{entry.address}</Fact>
        <Fact name={words.columns.action} only={words.ofKind(entry.verb)} onOnly={() => onOnly({ action: entry.verb })}>
          {entry.verb} <span className="dim mono">{entry.action}</span>
        </Fact>
        <Fact name={words.outcome} only={words.ended(entry.outcome)} onOnly={() => onOnly({ outcome: entry.outcome })}>
          <StateMark mark={outcomeMark(entry.outcome)} />
        </Fact>
        {entry.more > 0 ? <Fact name={words.similar}>{words.similarCount(entry.more)}</Fact> : null}
        {entry.objects.map((object, index) => (
          <Fact
            key={object}
            name={index === 0 ? words.objects : ""}
            only={words.about(object)}
            onOnly={() => onOnly({ object })}
          >
            <span className="mono">{object}</span>
          </Fact>
        ))}
        <Fact name={words.session}>{mono(entry.session)}</Fact>
        <Fact name={words.grant}>{mono(entry.grant)}</Fact>
        <Fact name={words.via}>{entry.via}</Fact>
        <Fact name={words.command}>{mono(entry.command)}</Fact>
        <Fact name={words.correlation}>{mono(entry.correlation)}</Fact>
        <Fact name={words.kept}>{words.position(entry.service, entry.position)}</Fact>
      </dl>
      <div className={`${form.buttons} ${classes.below}`}>
        <Button variant="default" data-autofocus onClick={onClose}>
          {words.close}
        </Button>
      </div>
    </Dialog>
  );
}

function mono(text: string | null): ReactNode {
  return text ? <span className="mono">{text}</span> : null;
}

interface FactProps {
  name: string;
  children: ReactNode;
  only?: string;
  onOnly?: () => void;
}

/** One line; what the record does not say is left out. */
function Fact({ name, children, only, onOnly }: FactProps) {
  if (children === null) return null;
  return (
    <>
      <dt>{name}</dt>
      <dd className={classes.fact}>
        <span>{children}</span>
        {onOnly ? (
          <Button size="compact-xs" variant="default" title={`${words.onlyThese} ${only ?? ""}`} onClick={onOnly}>
            {words.onlyThese} <span className="visually-hidden">{only}</span>
          </Button>
        ) : null}
      </dd>
    </>
  );
}
