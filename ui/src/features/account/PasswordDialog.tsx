import { Button, PasswordInput } from "@mantine/core";
import { useQueryClient } from "@tanstack/react-query";
import { useEffect, useMemo, useState, type FormEvent } from "react";
import { describe, type ErrorText } from "../../api/errors";
import { readFactor } from "../../api/factor";
import { changePassword, preloadOpaque } from "../../api/opaque";
import type { Session } from "../../api/types";
import { nextPaint } from "../../lib/nextPaint";
import { checkPassword } from "../../lib/password";
import { Dialog } from "../../ui/Dialog";
import { ErrorPanel } from "../../ui/ErrorPanel";
import classes from "../../ui/Form.module.css";
import { notify } from "../../ui/notify";
import { CodeInput } from "../factor/ProveForm";
import { asLoginFailure } from "../session/failure";
import { sessionQuery } from "../session/queries";
import { PasswordRules } from "../setup/PasswordRules";
import { accountKeys } from "./queries";
import { words } from "./words";

export function PasswordDialog({ session, onClose }: { session: Session; onClose: () => void }) {
  const { username, second_factor: withCode } = session;
  const client = useQueryClient();
  const [old, setOld] = useState("");
  const [code, setCode] = useState("");
  const [next, setNext] = useState("");
  const [again, setAgain] = useState("");
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<ErrorText | null>(null);

  useEffect(preloadOpaque, []);

  const check = useMemo(() => checkPassword(next, username, again), [next, username, again]);
  const factor = withCode ? readFactor(code) : null;
  const ready = old !== "" && check.accepted && (!withCode || factor !== null);

  const submit = async (event: FormEvent): Promise<void> => {
    event.preventDefault();
    if (busy || !ready) return;
    setBusy(true);
    setError(null);
    try {
      await nextPaint();
      const ended = await changePassword(username, old, factor, next);
      await Promise.all([accountKeys.sessions, sessionQuery.queryKey].map((queryKey) => client.invalidateQueries({ queryKey })));
      notify(words.passwordChanged(ended));
      onClose();
    } catch (cause) {
      setError(describe(words.failedPassword, asLoginFailure(cause)));
      setCode("");
      setBusy(false);
    }
  };

  return (
    <Dialog title={words.passwordTitle} closeOnClickOutside={false} onClose={onClose}>
      <form className={classes.form} onSubmit={(event) => void submit(event)} aria-label={words.passwordTitle}>
        {error ? <ErrorPanel error={error} /> : null}
        <p>{words.passwordLead}</p>
        <PasswordInput
          label={words.oldPassword}
          name="password"
          autoComplete="current-password"
          data-autofocus
          value={old}
          onChange={(event) => setOld(event.currentTarget.value)}
        />
        {withCode ? <CodeInput code={code} onChange={setCode} /> : null}
        <PasswordInput
          label={words.newPassword}
          name="new-password"
          autoComplete="new-password"
          value={next}
          onChange={(event) => setNext(event.currentTarget.value)}
        />
        <PasswordInput
          label={words.again}
          name="confirm-password"
          autoComplete="new-password"
          value={again}
          onChange={(event) => setAgain(event.currentTarget.value)}
        />
        <PasswordRules check={check} />
        <div className={classes.buttons}>
          <Button variant="default" onClick={onClose}>
            {words.cancel}
          </Button>
          <Button type="submit" loading={busy} disabled={!ready}>
            {words.password}
          </Button>
        </div>
      </form>
    </Dialog>
  );
}
