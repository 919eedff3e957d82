import { Button, PasswordInput, TextInput } from "@mantine/core";
import { useQueryClient } from "@tanstack/react-query";
import { getRouteApi, useRouter } from "@tanstack/react-router";
import { useEffect, useState, type FormEvent } from "react";
import { ApiError, describe, type ErrorText } from "../../api/errors";
import { logIn, preloadOpaque, WrongPassword } from "../../api/opaque";
import { nextPaint } from "../../lib/nextPaint";
import { EntryFrame } from "../../ui/EntryFrame";
import { ErrorPanel } from "../../ui/ErrorPanel";
import { words } from "./words";

const route = getRouteApi("/login");

export function LoginPage() {
  const { next, ended } = route.useSearch();
  const router = useRouter();
  const client = useQueryClient();
  const [username, setUsername] = useState("");
  const [password, setPassword] = useState("");
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<ErrorText | null>(null);

  useEffect(preloadOpaque, []);

  const submit = async (event: FormEvent): Promise<void> => {
    event.preventDefault();
    if (busy || username.trim() === "" || password === "") return;
    setBusy(true);
    setError(null);
    try {
      await nextPaint();
      await logIn(username, password);
      client.clear();
      await router.navigate({ href: next ?? "/", replace: true });
    } catch (cause) {
      setError(describe(words.failed, asLoginFailure(cause)));
      setPassword("");
      setBusy(false);
    }
  };

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
        <Button type="submit" size="md" loading={busy}>
          {words.submit}
        </Button>
      </form>
    </EntryFrame>
  );
}

/** The wrong password is found here, an unknown user by the server: both read the same. */
export function asLoginFailure(cause: unknown): unknown {
  if (cause instanceof WrongPassword) return new ApiError("login_failed", cause.message, 401, "never", null);
  if (cause instanceof DOMException && cause.name === "NotSupportedError") return new Error(words.noCrypto);
  return cause;
}
