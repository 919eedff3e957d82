import { Button, TextInput } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useState, type FormEvent } from "react";
import { describe } from "../../api/errors";
import type { Approval, Resolution } from "../../api/types";
import { approvalCan, refusal } from "../../lib/can";
import { REASON_CHARS } from "../../lib/limits";
import { Dialog } from "../../ui/Dialog";
import { EmptyState } from "../../ui/EmptyState";
import { ErrorPanel } from "../../ui/ErrorPanel";
import { Instant } from "../../ui/Instant";
import { Loading } from "../../ui/Loading";
import { notify } from "../../ui/notify";
import { Section } from "../../ui/Page";
import { sessionQuery } from "../session/queries";
import classes from "./Enrolment.module.css";
import { pendingApprovalsQuery, useDecide } from "./queries";
import { words } from "./words";

export function Approvals() {
  const query = useQuery(pendingApprovalsQuery);
  const items = query.data ?? [];
  return (
    <Section title={words.approvals} note={items.length > 0 ? words.approvalsNote : undefined}>
      {query.isPending ? <Loading rows={3} /> : null}
      {query.error ? (
        <ErrorPanel error={describe(words.failedList, query.error)} onRetry={() => void query.refetch()} />
      ) : null}
      {query.isSuccess && items.length === 0 ? (
        <EmptyState title={words.noApprovals}>{words.noApprovalsText}</EmptyState>
      ) : null}
      <ul className={classes.queue}>
        {items.map((approval) => (
          <ApprovalRow key={approval.id} approval={approval} />
        ))}
      </ul>
    </Section>
  );
}

function ApprovalRow({ approval }: { approval: Approval }) {
  const decide = useDecide();
  const session = useQuery(sessionQuery).data;
  const [denying, setDenying] = useState(false);
  const why = refusal(session, "approvals.decide");
  const open = approvalCan.decide(approval) && !why;
  const wordList = Array.isArray(approval.words) ? approval.words.join(" ") : approval.words;

  const elsewhere = approvalCan.livesElsewhere(approval);

  const approve = (how: { conflict?: Resolution; site?: string } = {}): void =>
    decide.mutate(
      { id: approval.id, approve: true, ...how },
      { onSuccess: () => notify(words.approved(approval.hostname)) },
    );
  const deny = (reason: string): void =>
    decide.mutate(
      { id: approval.id, approve: false, reason },
      {
        onSuccess: () => notify(words.denied(approval.hostname)),
        onSettled: () => setDenying(false),
      },
    );

  return (
    <li className={classes.approval} aria-label={approval.hostname}>
      <div className={classes.approvalMain}>
        <div className={classes.host}>
          <strong>{approval.hostname}</strong>
          <span className="dim">
            {[approval.site, [approval.os, approval.arch].filter(Boolean).join(" ")].filter(Boolean).join(" · ")}
          </span>
        </div>
        <div className={classes.buttons}>
          <Button variant="default" disabled={!open || decide.isPending} title={why} onClick={() => setDenying(true)}>
            {words.deny}
          </Button>
          {approvalCan.mustResolve(approval) ? (
            <>
              <Button variant="default" disabled={!open || decide.isPending} title={why} onClick={() => approve({ conflict: "co_exist" })}>
                {words.coExist}
              </Button>
              <Button disabled={!open || decide.isPending} title={why} onClick={() => approve({ conflict: "overwrite" })}>
                {words.overwrite}
              </Button>
            </>
          ) : (
            <Button
              disabled={!open || (elsewhere !== undefined && !elsewhere.site)}
              title={elsewhere && !elsewhere.site ? words.hiddenSite : why}
              loading={decide.isPending && decide.variables?.approve === true}
              onClick={() => approve(elsewhere?.site ? { site: elsewhere.site } : {})}
            >
              {elsewhere?.site ? words.leaveIn(elsewhere.site) : words.approve}
            </Button>
          )}
        </div>
      </div>
      <dl className={classes.facts}>
        <div>
          <dt>{words.address}</dt>
          <dd className="mono">{approval.address ?? "–"}</dd>
        </div>
        <div>
          <dt>{words.agent}</dt>
          <dd>{[approval.agent_version, approval.context].filter(Boolean).join(" · ") || "–"}</dd>
        </div>
        <div>
          <dt>{words.requested}</dt>
          <dd>
            <Instant at={approval.requested_at} />
          </dd>
        </div>
        <div>
          <dt>{words.expires}</dt>
          <dd>{approval.expires_at ? <Instant at={approval.expires_at} /> : words.noExpiry}</dd>
        </div>
        {approval.reason ? (
          <div className={classes.wide}>
            <dt>{words.note}</dt>
            <dd>{approval.reason}</dd>
          </div>
        ) : null}
        {wordList ? (
          <div className={classes.wide}>
            <dt>{words.wordsLabel}</dt>
            <dd className={classes.fingerWords}>{wordList}</dd>
          </div>
        ) : null}
        <div className={classes.wide}>
          <dt>{words.fingerprint}</dt>
          <dd className={classes.fingerprint}>{approval.fingerprint}</dd>
        </div>
      </dl>
      {decide.error ? <ErrorPanel error={describe(words.failedDecide(approval.hostname), decide.error)} /> : null}
      {denying ? (
        <DenyDialog approval={approval} busy={decide.isPending} onDeny={deny} onClose={() => setDenying(false)} />
      ) : null}
    </li>
  );
}

interface DenyDialogProps {
  approval: Approval;
  busy: boolean;
  onDeny: (reason: string) => void;
  onClose: () => void;
}

function DenyDialog({ approval, busy, onDeny, onClose }: DenyDialogProps) {
  const [reason, setReason] = useState("");
  const submit = (event: FormEvent): void => {
    event.preventDefault();
    onDeny(reason.trim());
  };
  return (
    <Dialog title={words.denyTitle(approval.hostname)} onClose={onClose}>
      <form className={classes.form} onSubmit={submit}>
        <TextInput
          label={words.reason}
          description={words.reasonHint}
          maxLength={REASON_CHARS}
          data-autofocus
          value={reason}
          onChange={(event) => setReason(event.currentTarget.value)}
        />
        <div className={classes.buttons}>
          <Button variant="default" onClick={onClose}>
            {words.cancel}
          </Button>
          <Button type="submit" color="red.9" loading={busy}>
            {words.deny}
          </Button>
        </div>
      </form>
    </Dialog>
  );
}
