import { Button, Popover, SegmentedControl, useMantineColorScheme } from "@mantine/core";
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { Link, useRouter } from "@tanstack/react-router";
import { lazy, Suspense, useState } from "react";
import { zoneName } from "../../lib/time";
import { Icon } from "../../ui/Icon";
import { Instant } from "../../ui/Instant";
import { endSessionHere, tellOtherTabs } from "../session/ended";
import { logOut, sessionQuery } from "../session/queries";
import classes from "./Shell.module.css";
import { words } from "./words";

const FactorDialog = lazy(() => import("../factor/FactorDialog"));

export function OperatorMenu() {
  const client = useQueryClient();
  const router = useRouter();
  const session = useQuery(sessionQuery).data;
  const { colorScheme, setColorScheme } = useMantineColorScheme();
  const [busy, setBusy] = useState(false);
  const [opened, setOpened] = useState(false);
  const [factor, setFactor] = useState(false);

  const leave = async (): Promise<void> => {
    setBusy(true);
    try {
      await logOut();
    } catch {
      // The key is destroyed: this browser can change nothing any more, whatever the server heard.
    }
    tellOtherTabs();
    await endSessionHere(client, router, { ended: false });
  };

  const name = session?.username ?? "";
  return (
    <>
      <Popover position="bottom-end" shadow="md" width={260} trapFocus returnFocus hideDetached={false} opened={opened} onChange={setOpened}>
        <Popover.Target>
          <Button
            variant="subtle"
            color="gray"
            size="compact-md"
            className={classes.operator}
            leftSection={<Icon name="user" />}
            aria-label={words.operator(name)}
            onClick={() => setOpened((open) => !open)}
          >
            {name}
          </Button>
        </Popover.Target>
        <Popover.Dropdown className={classes.menu} aria-label={words.operator(name)}>
          <div>
            <span className="dim">{words.loggedInAs} </span>
            <strong>{name}</strong>
          </div>
          <div>
            <span className="dim">{words.until} </span>
            <Instant at={session?.expires_at} />
          </div>
          <div className="dim">{words.zone(zoneName())}</div>
          <SegmentedControl
            size="xs"
            fullWidth
            aria-label={words.theme}
            value={colorScheme}
            onChange={(value) => setColorScheme(value as "light" | "dark" | "auto")}
            data={[
              { value: "light", label: words.light },
              { value: "dark", label: words.dark },
              { value: "auto", label: words.system },
            ]}
          />
          <Button
            variant="default"
            leftSection={<Icon name="user" />}
            renderRoot={(props) => <Link to="/account" {...props} />}
            onClick={() => setOpened(false)}
          >
            {words.account}
          </Button>
          <Button
            variant="default"
            leftSection={<Icon name="shield-check" />}
            onClick={() => {
              setOpened(false);
              setFactor(true);
            }}
          >
            {words.secondFactor}
          </Button>
          <Button variant="default" leftSection={<Icon name="logout" />} loading={busy} onClick={() => void leave()}>
            {words.logOut}
          </Button>
        </Popover.Dropdown>
      </Popover>
      {factor && session ? (
        <Suspense>
          <FactorDialog session={session} onClose={() => setFactor(false)} />
        </Suspense>
      ) : null}
    </>
  );
}
