// The dialog that proves password or passkey once more, when the server wants that for a dangerous act; then the act goes on.

import { Button } from "@mantine/core";
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useCallback, useEffect, useRef, useState } from "react";
import { onStepUpRequired } from "../../api/client";
import { describe, type ErrorText } from "../../api/errors";
import type { Factor } from "../../api/factor";
import { preloadOpaque, proveAgain } from "../../api/opaque";
import { passkeyTrouble, stepUpWithPasskey } from "../../api/passkey";
import type { Act } from "../../api/signing";
import { nextPaint } from "../../lib/nextPaint";
import { paths } from "../../lib/paths";
import { Dialog } from "../../ui/Dialog";
import { ErrorPanel } from "../../ui/ErrorPanel";
import classes from "../../ui/Form.module.css";
import { Icon } from "../../ui/Icon";
import { asLoginFailure } from "../session/failure";
import { sessionQuery } from "../session/queries";
import { ProveForm } from "./ProveForm";
import { words } from "./words";

/** A request that the server refused until it is proved who asks. */
interface Waiting {
  act: Act | null;
  resolve: (proved: boolean) => void;
}

export function StepUp() {
  const client = useQueryClient();
  const session = useQuery(sessionQuery).data;
  const waiting = useRef<Waiting[]>([]);
  const [asking, setAsking] = useState(false);
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<ErrorText | null>(null);

  /** Lets these go on, or fail; whatever else waits is asked for still. */
  const end = useCallback((proved: boolean, of: readonly Waiting[]): void => {
    waiting.current = waiting.current.filter((each) => !of.includes(each));
    for (const each of of) each.resolve(proved);
    setAsking(waiting.current.length > 0);
    setError(null);
  }, []);
  const giveUp = useCallback(() => end(false, waiting.current), [end]);

  useEffect(() => {
    onStepUpRequired((act) => {
      preloadOpaque();
      setAsking(true);
      return new Promise((resolve) => waiting.current.push({ act, resolve }));
    });
    return () => {
      onStepUpRequired(null);
      giveUp();
    };
  }, [giveUp]);

  /** `bound` is the one request that the proof serves; without it, it serves the session and so all that wait. */
  const proveBy = async (proof: () => Promise<unknown>, bound?: Waiting): Promise<void> => {
    if (busy || !session) return;
    setBusy(true);
    setError(null);
    try {
      await nextPaint();
      // The answer's token is left unread: the gateway puts it into the HttpOnly cookie.
      await proof();
      await client.invalidateQueries({ queryKey: sessionQuery.queryKey });
      end(true, bound ? [bound] : waiting.current);
    } catch (cause) {
      setError(describe(words.stepUpFailed, asLoginFailure(cause)));
    } finally {
      setBusy(false);
    }
  };
  const prove = (password: string, factor: Factor | null): Promise<void> =>
    proveBy(() => proveAgain(paths.stepUp, session?.username ?? "", password, factor));
  /** A passkey is asked for the one act that waits; for several at once as the password is. */
  const provePasskey = (): Promise<void> => {
    const [only, ...more] = waiting.current;
    const bound = more.length === 0 && only?.act ? only : undefined;
    return proveBy(() => stepUpWithPasskey(bound?.act ?? null), bound);
  };

  if (!asking || !session) return null;
  const offersPasskey = session.passkeys > 0 && passkeyTrouble() === null;
  return (
    <Dialog title={words.stepUpTitle} onClose={giveUp}>
      <div className={classes.form}>
        {error ? <ErrorPanel error={error} /> : null}
        {offersPasskey ? (
          <>
            <p>{words.stepUpLead}</p>
            <Button leftSection={<Icon name="key" />} loading={busy} data-autofocus onClick={() => void provePasskey()}>
              {words.withPasskey}
            </Button>
          </>
        ) : null}
        <ProveForm
          lead={offersPasskey ? words.orPassword : words.stepUp}
          withCode={session.second_factor}
          busy={busy}
          onSubmit={prove}
          onBack={giveUp}
          backLabel={words.cancel}
        />
      </div>
    </Dialog>
  );
}
