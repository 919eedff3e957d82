import { Checkbox } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { describe } from "../../api/errors";
import { ErrorPanel } from "../../ui/ErrorPanel";
import { Loading } from "../../ui/Loading";
import classes from "./Operators.module.css";
import { rolesQuery } from "./queries";
import { words } from "./words";

interface RoleChoiceProps {
  roles: string[];
  disabled?: boolean;
  error?: string | undefined;
  onChange: (roles: string[]) => void;
}

export function RoleChoice({ roles, disabled = false, error, onChange }: RoleChoiceProps) {
  const query = useQuery(rolesQuery);
  if (query.error) {
    return <ErrorPanel error={describe(words.failedRoles, query.error)} onRetry={() => void query.refetch()} />;
  }
  if (!query.data) return <Loading rows={3} />;
  return (
    <Checkbox.Group
      label={words.rolesLabel}
      description={words.rolesHint}
      error={error}
      value={roles}
      onChange={onChange}
    >
      <div className={classes.checks}>
        {query.data.map((role) => (
          <Checkbox key={role.name} value={role.name} label={role.name} description={role.description} disabled={disabled} />
        ))}
      </div>
    </Checkbox.Group>
  );
}
