// The element as one file with a stable name, for clinics' portals: /colloque-call.js. Adds to what the page build
// left in dist, the example portal included, and prints the compressed size that the budget is about.

import { readFileSync } from "node:fs";
import { gzipSync } from "node:zlib";
import { defineConfig, type Plugin } from "vite";
import { shortTemplates } from "./vite.templates.ts";

/** The element, compressed, may weigh this much: a patient on a slow mobile network waits for it. */
const GZIP_BYTES_MAX = 60_000;

function examples(): Plugin {
  return {
    name: "colloque-examples",
    generateBundle() {
      for (const name of ["portal.html", "portal.js", "portal.css"]) {
        const source = readFileSync(new URL(`examples/${name}`, import.meta.url), "utf8");
        this.emitFile({ type: "asset", fileName: `examples/${name}`, source });
      }
    },
  };
}

function sizeBudget(): Plugin {
  return {
    name: "colloque-size-budget",
    writeBundle(_options, bundle) {
      const chunk = bundle["colloque-call.js"];
      if (chunk?.type !== "chunk") throw new Error("colloque-call.js is missing from the library build");
      const size = gzipSync(chunk.code, { level: 9 }).length;
      console.log(`colloque-call.js: ${size} bytes gzip, of ${GZIP_BYTES_MAX}`);
      if (size > GZIP_BYTES_MAX) throw new Error("colloque-call.js is over its size budget");
    },
  };
}

export default defineConfig({
  plugins: [shortTemplates(), examples(), sizeBudget()],
  build: {
    outDir: "dist",
    emptyOutDir: false,
    target: "es2022",
    // Of a library, white space is left standing otherwise, for those who would bundle it again: this one is loaded as it is.
    rolldownOptions: { output: { minify: { compress: true, mangle: true, codegen: { removeWhitespace: true } } } },
    lib: {
      entry: new URL("src/elements/colloque-call.ts", import.meta.url).pathname,
      formats: ["es"],
      fileName: () => "colloque-call.js",
    },
  },
});
