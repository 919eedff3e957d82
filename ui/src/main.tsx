import "./ui/kit.css";
import "./ui/theme.css";

import { QueryClientProvider } from "@tanstack/react-query";
import { RouterProvider } from "@tanstack/react-router";
import { setNonce } from "get-nonce";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { onSessionEnded } from "./api/client";
import { makeQueryClient } from "./api/queryClient";
import { Providers } from "./features/shell/Providers";
import { endSessionHere, onSessionEndedElsewhere } from "./features/session/ended";
import { styleNonce } from "./lib/nonce";
import { makeRouter } from "./routes";

const nonce = styleNonce();
// The scroll lock of dialogs adds a style element of its own.
setNonce(nonce);

const queryClient = makeQueryClient();
const router = makeRouter(queryClient);

onSessionEnded(() => void endSessionHere(queryClient, router, { ended: true }));
onSessionEndedElsewhere(() => void endSessionHere(queryClient, router, { ended: true }));

const root = document.getElementById("root");
if (root) {
  createRoot(root).render(
    <StrictMode>
      <Providers nonce={nonce}>
        <QueryClientProvider client={queryClient}>
          <RouterProvider router={router} />
        </QueryClientProvider>
      </Providers>
    </StrictMode>,
  );
}
