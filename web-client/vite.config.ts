// The page shell, served at / and /join. Every asset is a file of its own with a hashed name: the server sends
// a content security policy that allows nothing inline and nothing from elsewhere.

import { defineConfig } from "vitest/config";
import { shortTemplates } from "./vite.templates.ts";

export default defineConfig({
  plugins: [shortTemplates()],
  build: {
    outDir: "dist",
    emptyOutDir: true,
    target: "es2022",
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
  },
  test: {
    environment: "node",
    include: ["tests/**/*.test.ts"],
  },
});
