import { Button, PasswordInput, TextInput } from "@mantine/core";
import { useQueryClient } from "@tanstack/react-query";
import { useRouter } from "@tanstack/react-router";
import { useEffect, useMemo, useState, type FormEvent } from "react";
import { describe, type ErrorText } from "../../api/errors";
import { canonicalUsername, logIn, preloadOpaque, setUp } from "../../api/opaque";
import { USERNAME } from "../../lib/limits";
import { nextPaint } from "../../lib/nextPaint";
import { checkPassword } from "../../lib/password";
import { EmptyState } from "../../ui/EmptyState";
import { EntryFrame } from "../../ui/EntryFrame";
import { ErrorPanel } from "../../ui/ErrorPanel";
import { PasswordRules } from "./PasswordRules";
import { forgetSetupSecret, takeSetupSecret } from "./secret";
import { words } from "./words";

export function SetupPage() {
  const router = useRouter();
  const client = useQueryClient();
  const [secret] = useState(takeSetupSecret);
  const [username, setUsername] = useState("");
  const [password, setPassword] = useState("");
  const [confirmation, setConfirmation] = useState("");
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<ErrorText | null>(null);

  useEffect(preloadOpaque, []);

  const name = canonicalUsername(username);
  const nameFits = USERNAME.test(name);
  const check = useMemo(() => checkPassword(password, name, confirmation), [password, name, confirmation]);

  if (secret === "") {
    return (
      <EntryFrame title={words.noSecretTitle} lead={words.noSecret}>
        <Button component="a" href="/login" variant="default">
          {words.toLogin}
        </Button>
      </EntryFrame>
    );
  }

  const submit = async (event: FormEvent): Promise<void> => {
    event.preventDefault();
    if (busy || !nameFits || !check.accepted) return;
    setBusy(true);
    setError(null);
    let isSet = false;
    try {
      await nextPaint();
      await setUp(secret, name, password);
      isSet = true;
      forgetSetupSecret();
      const second = await logIn(name, password);
      client.clear();
      // Whose password was reset may have a second factor: the log-in page asks for it.
      await router.navigate({ to: second ? "/login" : "/", replace: true });
    } catch (cause) {
      setError(describe(isSet ? words.loginFailed : words.failed, cause));
      setBusy(false);
    }
  };

  return (
    <EntryFrame title={words.title} lead={words.lead}>
      <form onSubmit={(event) => void submit(event)} aria-label={words.title}>
        {error ? <ErrorPanel error={error} /> : null}
        {error && error.what === words.loginFailed ? (
          <EmptyState
            title={words.loginFailed}
            action={
              <Button component="a" href="/login">
                {words.toLogin}
              </Button>
            }
          />
        ) : null}
        <TextInput
          label={words.username}
          description={words.usernameHint}
          name="username"
          autoComplete="username"
          autoCapitalize="none"
          spellCheck={false}
          autoFocus
          required
          withAsterisk={false}
          value={username}
          error={username !== "" && !nameFits ? words.usernameBad : undefined}
          onChange={(event) => setUsername(event.currentTarget.value)}
        />
        <PasswordInput
          label={words.password}
          name="new-password"
          autoComplete="new-password"
          required
          withAsterisk={false}
          value={password}
          onChange={(event) => setPassword(event.currentTarget.value)}
        />
        <PasswordInput
          label={words.confirm}
          name="confirm-password"
          autoComplete="new-password"
          required
          withAsterisk={false}
          value={confirmation}
          onChange={(event) => setConfirmation(event.currentTarget.value)}
        />
        <PasswordRules check={check} />
        <Button type="submit" size="md" loading={busy} disabled={!nameFits || !check.accepted}>
          {words.submit}
        </Button>
      </form>
    </EntryFrame>
  );
}
