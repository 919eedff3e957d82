import { Button } from "@mantine/core";
import type { ErrorText } from "../api/errors";
import { CopyButton } from "./CopyButton";
import { Icon } from "./Icon";
import classes from "./ErrorPanel.module.css";

/** What failed, why, what to do, code and request id. Device and server text is shown as text. */
export function ErrorPanel({ error, onRetry }: { error: ErrorText; onRetry?: () => void }) {
  const facts = `${error.what} ${error.why} (code ${error.code}${error.requestId ? `, request ${error.requestId}` : ""})`;
  return (
    <div className={classes.panel} role="alert">
      <span className={classes.icon}>
        <Icon name="alert-triangle" size={18} />
      </span>
      <div className={classes.text}>
        <strong>{error.what}</strong>
        <p>{error.why}</p>
        <p>{error.todo}</p>
        <p className={classes.facts}>
          Code <code>{error.code}</code>
          {error.requestId ? (
            <>
              {" · request "}
              <code>{error.requestId}</code>
            </>
          ) : null}
        </p>
        <div className={classes.actions}>
          {onRetry ? (
            <Button size="xs" variant="default" onClick={onRetry}>
              Try again
            </Button>
          ) : null}
          <CopyButton text={facts} label="Copy details" />
        </div>
      </div>
    </div>
  );
}
