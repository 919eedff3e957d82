// What stands beside the password: an authenticator app and recovery codes, set up and taken away.

import { Button, TextInput } from "@mantine/core";
import { useQueryClient } from "@tanstack/react-query";
import { useEffect, useState, type FormEvent, type ReactNode } from "react";
import { change } from "../../api/client";
import { describe, type ErrorText } from "../../api/errors";
import { base32 } from "../../api/encoding";
import { otpauth, readFactor, recoveryCodes, totpSecret, type Factor } from "../../api/factor";
import { preloadOpaque, proveAgain } from "../../api/opaque";
import type { FactorStanding, Session } from "../../api/types";
import { nextPaint } from "../../lib/nextPaint";
import { paths } from "../../lib/paths";
import { Dialog } from "../../ui/Dialog";
import { ErrorPanel } from "../../ui/ErrorPanel";
import classes from "../../ui/Form.module.css";
import { notify } from "../../ui/notify";
import { QrCode } from "../../ui/QrCode";
import { Shown } from "../../ui/Shown";
import { ProveForm } from "./ProveForm";
import { asLoginFailure } from "../session/failure";
import { sessionQuery } from "../session/queries";
import { words } from "./words";

type View =
  | { at: "overview" }
  | { at: "enrol" }
  | { at: "codes" }
  | { at: "offered"; secret: string; address: string }
  | { at: "made"; codes: string[] };

interface FactorDialogProps {
  session: Session;
  onClose: () => void;
}

export default function FactorDialog({ session, onClose }: FactorDialogProps) {
  const client = useQueryClient();
  const [view, setView] = useState<View>({ at: "overview" });
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<ErrorText | null>(null);

  useEffect(preloadOpaque, []);

  const go = (to: View): void => {
    setError(null);
    setView(to);
  };

  /** Does something with the server, and says what failed. */
  const act = async (work: () => Promise<void>): Promise<void> => {
    if (busy) return;
    setBusy(true);
    setError(null);
    try {
      await nextPaint();
      await work();
      await client.invalidateQueries({ queryKey: sessionQuery.queryKey });
    } catch (cause) {
      setError(describe(words.failed, asLoginFailure(cause)));
    } finally {
      setBusy(false);
    }
  };

  const enrol = (password: string, factor: Factor | null): Promise<void> =>
    act(async () => {
      const { secret } = await proveAgain(paths.enrolTotp, session.username, password, factor);
      const made = await totpSecret(secret);
      go({ at: "offered", secret: base32(made), address: otpauth(made, session.username, window.location.host) });
    });
  const makeCodes = (password: string, factor: Factor | null): Promise<void> =>
    act(async () => {
      const { secret } = await proveAgain(paths.recoveryCodes, session.username, password, factor);
      go({ at: "made", codes: await recoveryCodes(secret) });
    });
  const confirm = (code: string): Promise<void> =>
    act(async () => {
      await change<FactorStanding>(paths.confirmTotp, { code });
      notify(words.confirmed);
      go({ at: "overview" });
    });
  const remove = (): Promise<void> =>
    act(async () => {
      await change<FactorStanding>(paths.removeTotp);
      notify(words.removed);
    });

  const back = (): void => go({ at: "overview" });
  const body = (): ReactNode => {
    switch (view.at) {
      case "overview":
        return <Overview session={session} busy={busy} onGo={go} onRemove={remove} onClose={onClose} />;
      case "enrol":
        return <ProveForm lead={words.prove} withCode={session.second_factor} busy={busy} onSubmit={enrol} onBack={back} />;
      case "codes":
        return <ProveForm lead={words.prove} withCode busy={busy} onSubmit={makeCodes} onBack={back} />;
      case "offered":
        return <Offered secret={view.secret} address={view.address} busy={busy} onSubmit={confirm} onBack={back} />;
      case "made":
        return <Made codes={view.codes} onClose={onClose} />;
    }
  };

  return (
    <Dialog
      title={view.at === "offered" ? words.offeredTitle : view.at === "made" ? words.codesTitle : words.title}
      view={view.at}
      onClose={onClose}
      closeOnClickOutside={view.at !== "made" && view.at !== "offered"}
    >
      <div className={classes.form}>
        {error ? <ErrorPanel error={error} /> : null}
        {body()}
      </div>
    </Dialog>
  );
}

interface OverviewProps {
  session: Session;
  busy: boolean;
  onGo: (view: View) => void;
  onRemove: () => Promise<void>;
  onClose: () => void;
}

function Overview({ session, busy, onGo, onRemove, onClose }: OverviewProps) {
  return (
    <>
      <p>{session.second_factor ? words.on : words.off}</p>
      {session.second_factor ? <p className="dim">{words.codesLeft(session.recovery_codes_left)}</p> : null}
      <div className={classes.buttons}>
        <Button variant="default" onClick={onClose}>
          {words.close}
        </Button>
        {session.second_factor ? (
          <>
            <Button variant="default" loading={busy} onClick={() => void onRemove()}>
              {words.remove}
            </Button>
            <Button variant="default" onClick={() => onGo({ at: "enrol" })}>
              {words.enrolAgain}
            </Button>
            <Button onClick={() => onGo({ at: "codes" })}>{words.makeCodes}</Button>
          </>
        ) : (
          <Button onClick={() => onGo({ at: "enrol" })}>{words.enrol}</Button>
        )}
      </div>
    </>
  );
}

interface OfferedProps {
  secret: string;
  address: string;
  busy: boolean;
  onSubmit: (code: string) => Promise<void>;
  onBack: () => void;
}

function Offered({ secret, address, busy, onSubmit, onBack }: OfferedProps) {
  const [code, setCode] = useState("");
  const factor = readFactor(code);
  const ready = factor?.kind === "totp";
  const submit = (event: FormEvent): void => {
    event.preventDefault();
    if (factor?.kind === "totp") void onSubmit(factor.code);
  };
  return (
    <form className={classes.form} onSubmit={submit} aria-label={words.offeredTitle}>
      <p>{words.offeredHint}</p>
      <QrCode text={address} label={words.scan} />
      <Shown label={words.secret} text={secret} copy={words.copySecret} testId="totp-secret" />
      <Shown label={words.address} text={address} copy={words.copyAddress} testId="totp-address" />
      <TextInput
        label={words.newCode}
        name="code"
        autoComplete="one-time-code"
        spellCheck={false}
        data-autofocus
        value={code}
        onChange={(event) => setCode(event.currentTarget.value)}
      />
      <div className={classes.buttons}>
        <Button variant="default" onClick={onBack}>
          {words.back}
        </Button>
        <Button type="submit" loading={busy} disabled={!ready}>
          {words.confirm}
        </Button>
      </div>
    </form>
  );
}

function Made({ codes, onClose }: { codes: string[]; onClose: () => void }) {
  return (
    <>
      <p className={classes.once}>{words.codesOnce}</p>
      <Shown label={words.codesTitle} text={codes.join("\n")} copy={words.copyCodes} testId="recovery-codes" />
      <div className={classes.buttons}>
        <Button onClick={onClose}>{words.done}</Button>
      </div>
    </>
  );
}
