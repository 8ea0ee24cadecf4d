// Every word a person reads or hears from a screen reader, in both languages. The French dictionary is the type of the
// English one: a missing sentence does not compile.

import type { Language } from "../protocol/generated.ts";
import { en } from "./words/en.ts";
import { fr } from "./words/fr.ts";

export type Strings = typeof fr;

export const STRINGS: Readonly<Record<Language, Strings>> = { fr, en };

export function isLanguage(value: unknown): value is Language {
  return value === "fr" || value === "en";
}
