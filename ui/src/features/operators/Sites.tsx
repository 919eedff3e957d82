import { Button } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useState, type FormEvent } from "react";
import { describe } from "../../api/errors";
import type { Site } from "../../api/types";
import { refusalEverywhere } from "../../lib/can";
import { NAME } from "../../lib/rights";
import { Dialog } from "../../ui/Dialog";
import { EmptyState } from "../../ui/EmptyState";
import { ErrorPanel } from "../../ui/ErrorPanel";
import classes from "../../ui/Form.module.css";
import { Icon } from "../../ui/Icon";
import { Instant } from "../../ui/Instant";
import { Loading } from "../../ui/Loading";
import { notify } from "../../ui/notify";
import { ActionCell, Table, TextCell } from "../../ui/Table";
import { sessionQuery } from "../session/queries";
import { Bar } from "./Bar";
import { NamedFields } from "./NamedFields";
import { sitesQuery, useSaveSite } from "./queries";
import { words } from "./words";

const HEAD = [words.site, words.description, words.made, ""];

export function Sites() {
  const query = useQuery(sitesQuery);
  const session = useQuery(sessionQuery).data;
  const [editing, setEditing] = useState<Site | "new" | null>(null);
  const why = refusalEverywhere(session, "sites.manage");
  const make = (
    <Button leftSection={<Icon name="plus" />} disabled={why !== undefined} title={why} onClick={() => setEditing("new")}>
      {words.makeSite}
    </Button>
  );
  const items = query.data ?? [];
  return (
    <>
      <Bar>{make}</Bar>
      {query.isPending ? <Loading rows={3} /> : null}
      {query.error ? (
        <ErrorPanel error={describe(words.failedSites, query.error)} onRetry={() => void query.refetch()} />
      ) : null}
      {query.isSuccess && items.length === 0 ? <EmptyState title={words.noSites}>{words.noSitesText}</EmptyState> : null}
      {items.length > 0 ? (
        <Table label={words.sites} head={HEAD}>
          {items.map((site) => (
            <tr key={site.name}>
              <td>
                <strong>{site.name}</strong>
              </td>
              <TextCell>{site.description || "–"}</TextCell>
              <td>{site.created_at ? <Instant at={site.created_at} /> : words.always}</td>
              <ActionCell>
                {why ? null : (
                  <Button
                    size="compact-sm"
                    variant="default"
                    aria-label={words.describeNamed(site.name)}
                    onClick={() => setEditing(site)}
                  >
                    {words.describe}
                  </Button>
                )}
              </ActionCell>
            </tr>
          ))}
        </Table>
      ) : null}
      {editing ? <SiteDialog site={editing === "new" ? null : editing} onClose={() => setEditing(null)} /> : null}
    </>
  );
}

function SiteDialog({ site, onClose }: { site: Site | null; onClose: () => void }) {
  const save = useSaveSite(site === null);
  const [name, setName] = useState(site?.name ?? "");
  const [description, setDescription] = useState(site?.description ?? "");
  const [tried, setTried] = useState(false);
  const bad = site || NAME.test(name.trim()) ? undefined : words.nameBad;
  const submit = (event: FormEvent): void => {
    event.preventDefault();
    setTried(true);
    if (bad) return;
    save.mutate(
      { name: name.trim(), description: description.trim() },
      {
        onSuccess: (saved) => {
          notify(words.siteSaved(saved.name));
          onClose();
        },
      },
    );
  };
  return (
    <Dialog title={site ? words.describeTitle(site.name) : words.makeSiteTitle} onClose={onClose}>
      <form className={classes.form} onSubmit={submit} noValidate>
        {save.error ? <ErrorPanel error={describe(words.failedSite, save.error)} /> : null}
        <NamedFields
          isNew={site === null}
          name={name}
          nameError={tried ? bad : undefined}
          description={description}
          onName={setName}
          onDescription={setDescription}
        />
        <div className={classes.buttons}>
          <Button variant="default" onClick={onClose}>
            {words.cancel}
          </Button>
          <Button type="submit" loading={save.isPending}>
            {site ? words.save : words.makeSite}
          </Button>
        </div>
      </form>
    </Dialog>
  );
}
