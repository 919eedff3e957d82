import type { PasswordCheck } from "../../lib/password";
import { Icon } from "../../ui/Icon";
import classes from "./PasswordRules.module.css";
import { words } from "./words";

export function PasswordRules({ check }: { check: PasswordCheck }) {
  return (
    <div className={classes.box}>
      <div className={classes.strength} aria-live="polite">
        <span className={classes.meter} aria-hidden="true">
          {[1, 2, 3, 4].map((step) => (
            <span key={step} data-on={check.strength >= step || undefined} data-strength={check.strength} />
          ))}
        </span>
        <span>
          {words.strength}: <strong>{check.strengthLabel}</strong>
        </span>
      </div>
      <ul className={classes.rules} aria-label={words.rules}>
        {check.rules.map((rule) => (
          <li key={rule.id} data-met={rule.met || undefined}>
            <span className={classes.tick} aria-hidden="true">
              {rule.met ? <Icon name="check" size={14} /> : "·"}
            </span>
            {rule.label}
            <span className="visually-hidden">, {rule.met ? words.met : words.unmet}</span>
          </li>
        ))}
      </ul>
    </div>
  );
}
