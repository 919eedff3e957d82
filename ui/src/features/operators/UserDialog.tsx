// One operator: what is known of them, and what can be changed. Nothing is changed at the first click.

import { Button, Switch, TextInput } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useState, type FormEvent, type ReactNode } from "react";
import { describe } from "../../api/errors";
import type { User } from "../../api/types";
import { holdsEverywhere, userCan } from "../../lib/can";
import { REASON_CHARS } from "../../lib/limits";
import { markOf, USER_MARKS } from "../../lib/states";
import { Dialog } from "../../ui/Dialog";
import { ErrorPanel } from "../../ui/ErrorPanel";
import classes from "../../ui/Form.module.css";
import { Instant } from "../../ui/Instant";
import { notify } from "../../ui/notify";
import { StateMark } from "../../ui/StateMark";
import { sessionQuery } from "../session/queries";
import { LinkPanel } from "./LinkPanel";
import { useChangeUser, useReset, type UserChange } from "./queries";
import { RoleChoice } from "./RoleChoice";
import { words } from "./words";

type View = "overview" | "reset" | "reset-factor" | "disable";

export function UserDialog({ user, onClose }: { user: User; onClose: () => void }) {
  const session = useQuery(sessionQuery).data;
  const [view, setView] = useState<View>("overview");
  const reset = useReset(user.id);
  const changing = useChangeUser(user.id);
  const manages = holdsEverywhere(session, "users.manage");
  const name = user.username;
  const error = reset.error ?? changing.error;

  const go = (to: View): void => {
    reset.reset();
    changing.reset();
    setView(to);
  };
  const act = (what: UserChange, told: string): void =>
    changing.mutate(what, {
      onSuccess: () => {
        notify(told);
        go("overview");
      },
    });

  if (reset.data) {
    return (
      <Dialog title={words.linkTitle(name)} size="lg" closeOnClickOutside={false} onClose={onClose}>
        <LinkPanel made={reset.data} onClose={onClose} />
      </Dialog>
    );
  }
  const invited = user.state === "invited";
  const views: Record<View, { title: string; body: ReactNode }> = {
    overview: {
      title: words.overviewTitle(name),
      body: (
        <Overview
          user={user}
          manages={manages}
          busy={changing.isPending}
          onGo={go}
          onEnable={() => act({ act: "enable" }, words.enabled(name))}
          onRoles={(roles) => act({ act: "roles", roles }, words.rolesSaved(name))}
          onClose={onClose}
        />
      ),
    },
    reset: {
      title: invited ? words.newLinkTitle(name) : words.resetTitle(name),
      body: (
        <Confirm
          text={invited ? words.newLinkText : words.resetText}
          verb={invited ? words.newLink : words.reset}
          busy={reset.isPending}
          onDo={() => reset.mutate()}
          onBack={() => go("overview")}
        />
      ),
    },
    "reset-factor": {
      title: words.resetFactorTitle(name),
      body: (
        <Confirm
          text={words.resetFactorText}
          verb={words.resetFactor}
          busy={changing.isPending}
          onDo={() => act({ act: "reset-factor" }, words.factorGone(name))}
          onBack={() => go("overview")}
        />
      ),
    },
    disable: {
      title: words.disableTitle(name),
      body: (
        <DisableForm
          busy={changing.isPending}
          onDo={(reason, for_good) =>
            act({ act: "disable", reason, for_good }, for_good ? words.deleted(name) : words.disabled(name))
          }
          onBack={() => go("overview")}
        />
      ),
    },
  };
  return (
    <Dialog title={views[view].title} onClose={onClose}>
      <div className={classes.form}>
        {error ? <ErrorPanel error={describe(words.failedChange(name), error)} /> : null}
        {views[view].body}
      </div>
    </Dialog>
  );
}

interface OverviewProps {
  user: User;
  manages: boolean;
  busy: boolean;
  onGo: (view: View) => void;
  onEnable: () => void;
  onRoles: (roles: string[]) => void;
  onClose: () => void;
}

function Overview({ user, manages, busy, onGo, onEnable, onRoles, onClose }: OverviewProps) {
  const [roles, setRoles] = useState(user.roles);
  const same = roles.length === user.roles.length && roles.every((role) => user.roles.includes(role));
  const bad = roles.length === 0 ? words.rolesBad : undefined;
  const can = (allowed: (user: User) => boolean): boolean => manages && allowed(user);
  return (
    <>
      <dl className={classes.facts}>
        <dt>{words.state}</dt>
        <dd>
          <StateMark mark={markOf(USER_MARKS, user.state)} />
        </dd>
        <dt>{words.secondFactor}</dt>
        <dd>{user.second_factor ? words.yes : words.no}</dd>
        <dt>{words.lastLogin}</dt>
        <dd>{user.last_login_at ? <Instant at={user.last_login_at} /> : words.never}</dd>
        <dt>{words.made}</dt>
        <dd>
          <Instant at={user.created_at} />
        </dd>
        <dt>{words.madeBy}</dt>
        <dd>{user.created_by ?? words.first}</dd>
        {can(userCan.setRoles) ? null : (
          <>
            <dt>{words.rolesLabel}</dt>
            <dd>{user.roles.join(", ") || "–"}</dd>
          </>
        )}
      </dl>
      {can(userCan.setRoles) ? (
        <>
          <RoleChoice roles={roles} error={bad} onChange={setRoles} />
          <div className={classes.buttons}>
            <Button disabled={same || bad !== undefined} loading={busy} onClick={() => onRoles(roles)}>
              {words.saveRoles}
            </Button>
          </div>
        </>
      ) : null}
      <div className={`${classes.buttons} ${classes.apart}`}>
        {can(userCan.disable) ? (
          <Button variant="default" onClick={() => onGo("disable")}>
            {words.disable}
          </Button>
        ) : null}
        {can(userCan.enable) ? (
          <Button variant="default" loading={busy} onClick={onEnable}>
            {words.enable}
          </Button>
        ) : null}
        {can(userCan.resetFactor) ? (
          <Button variant="default" onClick={() => onGo("reset-factor")}>
            {words.resetFactor}
          </Button>
        ) : null}
        {can(userCan.reset) ? (
          <Button variant="default" onClick={() => onGo("reset")}>
            {user.state === "invited" ? words.newLink : words.reset}
          </Button>
        ) : null}
        <Button variant="default" onClick={onClose}>
          {words.close}
        </Button>
      </div>
    </>
  );
}

interface ConfirmProps {
  text: string;
  verb: string;
  busy: boolean;
  onDo: () => void;
  onBack: () => void;
}

function Confirm({ text, verb, busy, onDo, onBack }: ConfirmProps) {
  return (
    <>
      <p>{text}</p>
      <div className={classes.buttons}>
        <Button variant="default" onClick={onBack}>
          {words.cancel}
        </Button>
        <Button loading={busy} onClick={onDo} data-autofocus>
          {verb}
        </Button>
      </div>
    </>
  );
}

interface DisableFormProps {
  busy: boolean;
  onDo: (reason: string, forGood: boolean) => void;
  onBack: () => void;
}

function DisableForm({ busy, onDo, onBack }: DisableFormProps) {
  const [reason, setReason] = useState("");
  const [forGood, setForGood] = useState(false);
  const submit = (event: FormEvent): void => {
    event.preventDefault();
    onDo(reason.trim(), forGood);
  };
  return (
    <form className={classes.form} onSubmit={submit}>
      <p>{words.disableText}</p>
      <TextInput
        label={words.reason}
        description={words.reasonHint}
        maxLength={REASON_CHARS}
        data-autofocus
        value={reason}
        onChange={(event) => setReason(event.currentTarget.value)}
      />
      <Switch
        label={words.forGood}
        description={words.forGoodHint}
        checked={forGood}
        onChange={(event) => setForGood(event.currentTarget.checked)}
      />
      <div className={classes.buttons}>
        <Button variant="default" onClick={onBack}>
          {words.cancel}
        </Button>
        <Button type="submit" color="red.9" loading={busy}>
          {forGood ? words.delete : words.disable}
        </Button>
      </div>
    </form>
  );
}
