// Judges a FHIR resource on standard input against the definitions of FHIR R4 itself (npm's fhir): cardinalities, types, unknown
// elements, required codes. Prints what is wrong; exit status 1 when something is.
import { readFileSync } from "node:fs";
import { Fhir } from "fhir/fhir.js";

const verdict = new Fhir().validate(JSON.parse(readFileSync(0, "utf8")), { errorOnUnexpected: true });
for (const { location, message } of verdict.messages.filter(({ severity }) => severity === "error")) {
  console.log(`${location}: ${message}`);
}
process.exitCode = verdict.valid ? 0 : 1;
