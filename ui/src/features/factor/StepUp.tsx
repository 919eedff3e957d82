// The dialog that proves the password once more, when the server wants that for a dangerous act; then the act goes on.

import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useCallback, useEffect, useRef, useState } from "react";
import { onStepUpRequired } from "../../api/client";
import { describe, type ErrorText } from "../../api/errors";
import type { Factor } from "../../api/factor";
import { preloadOpaque, proveAgain } from "../../api/opaque";
import { nextPaint } from "../../lib/nextPaint";
import { paths } from "../../lib/paths";
import { Dialog } from "../../ui/Dialog";
import { ErrorPanel } from "../../ui/ErrorPanel";
import classes from "../../ui/Form.module.css";
import { asLoginFailure } from "../session/failure";
import { sessionQuery } from "../session/queries";
import { ProveForm } from "./ProveForm";
import { words } from "./words";

export function StepUp() {
  const client = useQueryClient();
  const session = useQuery(sessionQuery).data;
  const waiting = useRef<((proved: boolean) => void)[]>([]);
  const [asking, setAsking] = useState(false);
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<ErrorText | null>(null);

  const end = useCallback((proved: boolean): void => {
    for (const each of waiting.current.splice(0)) each(proved);
    setAsking(false);
    setError(null);
  }, []);

  useEffect(() => {
    onStepUpRequired(() => {
      preloadOpaque();
      setAsking(true);
      return new Promise((resolve) => waiting.current.push(resolve));
    });
    return () => {
      onStepUpRequired(null);
      end(false);
    };
  }, [end]);

  const prove = async (password: string, factor: Factor | null): Promise<void> => {
    if (busy || !session) return;
    setBusy(true);
    setError(null);
    try {
      await nextPaint();
      // The answer's token is left unread: the gateway puts it into the HttpOnly cookie.
      await proveAgain(paths.stepUp, session.username, password, factor);
      await client.invalidateQueries({ queryKey: sessionQuery.queryKey });
      end(true);
    } catch (cause) {
      setError(describe(words.stepUpFailed, asLoginFailure(cause)));
    } finally {
      setBusy(false);
    }
  };

  if (!asking || !session) return null;
  return (
    <Dialog title={words.stepUpTitle} onClose={() => end(false)}>
      <div className={classes.form}>
        {error ? <ErrorPanel error={error} /> : null}
        <ProveForm
          lead={words.stepUp}
          withCode={session.second_factor}
          busy={busy}
          onSubmit={prove}
          onBack={() => end(false)}
          backLabel={words.cancel}
        />
      </div>
    </Dialog>
  );
}
