import { CopyButton } from "./CopyButton";
import classes from "./Shown.module.css";

interface ShownProps {
  label: string;
  text: string;
  copy: string;
  testId?: string;
}

/** A text that is there to be copied, such as a secret or a command. */
export function Shown({ label, text, copy, testId }: ShownProps) {
  return (
    <div>
      <div className={classes.labelRow}>
        <strong>{label}</strong>
        <CopyButton text={text} label={copy} />
      </div>
      <code className={classes.code} data-testid={testId}>
        {text}
      </code>
    </div>
  );
}
