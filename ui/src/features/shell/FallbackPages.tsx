import { Button } from "@mantine/core";
import type { ErrorComponentProps } from "@tanstack/react-router";
import { describe } from "../../api/errors";
import { EmptyState } from "../../ui/EmptyState";
import { ErrorPanel } from "../../ui/ErrorPanel";
import { Page } from "../../ui/Page";
import { words } from "./words";

export function NotFoundPage() {
  return (
    <main>
      <Page title={words.notFound}>
        <EmptyState
          title={words.notFoundText}
          action={
            <Button component="a" href="/">
              {words.goHome}
            </Button>
          }
        />
      </Page>
    </main>
  );
}

export function CrashPage({ error }: ErrorComponentProps) {
  return (
    <main>
      <Page title={words.crashed}>
        <ErrorPanel error={describe(words.unreachable, error)} onRetry={() => window.location.reload()} />
      </Page>
    </main>
  );
}
