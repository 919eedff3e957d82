import { Button, PasswordInput, TextInput } from "@mantine/core";
import { useQueryClient } from "@tanstack/react-query";
import { getRouteApi, useRouter } from "@tanstack/react-router";
import { useEffect, useState, type FormEvent } from "react";
import { ApiError, describe, type ErrorText } from "../../api/errors";
import { readFactor } from "../../api/factor";
import { logIn, preloadOpaque, type FactorStep } from "../../api/opaque";
import { logInWithPasskey, passkeyTrouble } from "../../api/passkey";
import { nextPaint } from "../../lib/nextPaint";
import { EntryFrame } from "../../ui/EntryFrame";
import { ErrorPanel } from "../../ui/ErrorPanel";
import { Icon } from "../../ui/Icon";
import { asLoginFailure } from "./failure";
import { words } from "./words";

const route = getRouteApi("/login");

export function LoginPage() {
  const { next, ended } = route.useSearch();
  const router = useRouter();
  const client = useQueryClient();
  const [username, setUsername] = useState("");
  const [password, setPassword] = useState("");
  const [busy, setBusy] = useState(false);
  const [asking, setAsking] = useState(false);
  const [error, setError] = useState<ErrorText | null>(null);
  const [second, setSecond] = useState<FactorStep | null>(null);

  const trouble = passkeyTrouble();

  useEffect(preloadOpaque, []);

  const goOn = async (): Promise<void> => {
    client.clear();
    await router.navigate({ href: next ?? "/", replace: true });
  };

  const submit = async (event: FormEvent): Promise<void> => {
    event.preventDefault();
    if (busy || username.trim() === "" || password === "") return;
    setBusy(true);
    setError(null);
    try {
      await nextPaint();
      const step = await logIn(username, password);
      setPassword("");
      if (step) {
        setSecond(step);
        setBusy(false);
      } else {
        await goOn();
      }
    } catch (cause) {
      setError(describe(words.failed, asLoginFailure(cause)));
      setPassword("");
      setBusy(false);
    }
  };

  const askPasskey = async (): Promise<void> => {
    if (busy || asking) return;
    setAsking(true);
    setError(null);
    try {
      await logInWithPasskey();
      await goOn();
    } catch (cause) {
      setError(describe(words.failed, asLoginFailure(cause)));
      setAsking(false);
    }
  };

  if (second) {
    const startOver = (cause: unknown): void => {
      setSecond(null);
      setError(cause === undefined ? null : describe(words.failed, cause));
    };
    return <CodeStep step={second} onDone={goOn} onStartOver={startOver} />;
  }

  return (
    <EntryFrame title={words.title} lead={ended ? words.ended : words.lead}>
      <form onSubmit={(event) => void submit(event)} aria-label={words.title}>
        {error ? <ErrorPanel error={error} /> : null}
        <TextInput
          label={words.username}
          name="username"
          autoComplete="username"
          autoCapitalize="none"
          spellCheck={false}
          autoFocus
          required
          withAsterisk={false}
          value={username}
          onChange={(event) => setUsername(event.currentTarget.value)}
        />
        <PasswordInput
          label={words.password}
          name="password"
          autoComplete="current-password"
          required
          withAsterisk={false}
          value={password}
          onChange={(event) => setPassword(event.currentTarget.value)}
        />
        <Button type="submit" size="md" loading={busy} disabled={asking}>
          {words.submit}
        </Button>
        {trouble === null ? (
          <Button
            variant="default"
            size="md"
            leftSection={<Icon name="key" />}
            loading={asking}
            disabled={busy}
            onClick={() => void askPasskey()}
          >
            {words.passkey}
          </Button>
        ) : null}
        {trouble === "address" ? <p className="dim">{words.passkeyNeedsName}</p> : null}
      </form>
    </EntryFrame>
  );
}

interface CodeStepProps {
  step: FactorStep;
  onDone: () => Promise<void>;
  onStartOver: (cause?: unknown) => void;
}

/** The second step: a code of the authenticator app, or a recovery code. */
function CodeStep({ step, onDone, onStartOver }: CodeStepProps) {
  const [code, setCode] = useState("");
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<ErrorText | null>(null);
  const factor = readFactor(code);

  const submit = async (event: FormEvent): Promise<void> => {
    event.preventDefault();
    if (busy || !factor) return;
    setBusy(true);
    setError(null);
    try {
      await step.prove(factor);
      await onDone();
    } catch (cause) {
      // The log-in waits for a few codes and some minutes; then the password is asked for again.
      if (cause instanceof ApiError && cause.code === "login_failed") onStartOver(cause);
      setError(describe(words.failed, cause));
      setCode("");
      setBusy(false);
    }
  };

  return (
    <EntryFrame title={words.codeTitle} lead={words.codeLead}>
      <form onSubmit={(event) => void submit(event)} aria-label={words.codeTitle}>
        {error ? <ErrorPanel error={error} /> : null}
        <TextInput
          label={words.code}
          description={step.factors.includes("recovery") ? words.codeOrRecovery : words.codeHint}
          name="code"
          autoComplete="one-time-code"
          autoCapitalize="none"
          spellCheck={false}
          autoFocus
          required
          withAsterisk={false}
          value={code}
          error={code.length >= 6 && !factor ? words.codeBad : undefined}
          onChange={(event) => setCode(event.currentTarget.value)}
        />
        <Button type="submit" size="md" loading={busy} disabled={!factor}>
          {words.codeSubmit}
        </Button>
        <Button variant="subtle" onClick={() => onStartOver()}>
          {words.startOver}
        </Button>
      </form>
    </EntryFrame>
  );
}
