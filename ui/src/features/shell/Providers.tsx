import { localStorageColorSchemeManager, MantineProvider } from "@mantine/core";
import { Notifications } from "@mantine/notifications";
import { useEffect, type ReactNode } from "react";
import { cssVariables, theme } from "../../ui/theme";

const schemes = localStorageColorSchemeManager({ key: "borealis-color-scheme" });

export function Providers({ nonce, children }: { nonce: string; children: ReactNode }) {
  useEffect(() => {
    document.documentElement.lang = "en";
  }, []);
  return (
    <MantineProvider
      theme={theme}
      cssVariablesResolver={cssVariables}
      colorSchemeManager={schemes}
      defaultColorScheme="auto"
      getStyleNonce={() => nonce}
    >
      <Notifications position="bottom-right" limit={3} />
      {children}
    </MantineProvider>
  );
}
