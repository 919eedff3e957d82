import react from "@vitejs/plugin-react";
import { defineConfig } from "vitest/config";

// The gateway serves the built page at "/" and puts a fresh nonce in place of
// `__CSP_NONCE__` (index.html) for every response.
export default defineConfig({
  plugins: [react()],
  build: {
    target: "es2023",
    modulePreload: { polyfill: false },
    // A data: URL would need an exception in the content security policy.
    assetsInlineLimit: 0,
    chunkSizeWarningLimit: 700,
  },
  server: {
    proxy: {
      "/api": { target: process.env["BOREALIS_URL"] ?? "https://127.0.0.1:5000", secure: false, ws: true },
    },
  },
  test: {
    environment: "jsdom",
    include: ["src/**/*.spec.{ts,tsx}"],
    setupFiles: ["src/test/setup.ts"],
    css: false,
    restoreMocks: true,
    // A deadline to wait on, not a timing: other builds may share the machine.
    testTimeout: 60_000,
  },
});
