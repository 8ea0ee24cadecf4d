// What scripts/instructions.sh does with its counts: the table, the verdict, and the baseline.
// A row may grow by 5 %, or by more when CHANGELOG.md says why; the same holds for a baseline that was rewritten.
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { pathToFileURL } from 'node:url';

const BASELINE = 'benches/instructions.json';
/** Higher hides a slow decline in one commit; lower fails on what another order of the same code costs. */
const GROWTH_MAX = 0.05;

/** Instructions per unit by row, from the program's list of rows and callgrind's totals. */
export function measuredRows(rows, counts) {
  const totals = new Map(table(counts).map(([name, total]) => [name, Number(total)]));
  const measured = {};
  for (const [name, units, runs] of table(rows)) {
    if (!totals.has(name)) continue;
    const each = totals.get(name) / (Number(units) * Number(runs));
    if (!(each > 0)) throw new Error(`${name}: nothing was counted`);
    measured[name] = Math.round(each * 10) / 10;
  }
  return measured;
}

function table(text) {
  return text.split('\n').filter(Boolean).map((line) => line.split('\t'));
}

/** Rows for which the changelog gives a reason. `whole`: also in sections of releases. */
export function excused(changelog, whole = false) {
  const unreleased = changelog.split(/^## /m).find((section) => section.startsWith('Unreleased')) ?? '';
  const lines = (whole ? changelog : unreleased).matchAll(/^\s*[-*]?\s*instructions: (\S+): *\S/gm);
  return new Set([...lines].map((line) => line[1]));
}

/** One verdict a row of either side: `state` is ok, less, excused, more, new or gone; the last three fail. */
export function compare(before, now, reasons) {
  const names = [...new Set([...Object.keys(now), ...Object.keys(before)])];
  return names.map((name) => {
    const [was, is] = [before[name], now[name]];
    if (was === undefined) return { name, is, state: 'new' };
    if (is === undefined) return { name, was, state: 'gone' };
    const change = is / was - 1;
    let state = 'ok';
    if (is > was * (1 + GROWTH_MAX)) state = reasons.has(name) ? 'excused' : 'more';
    if (is < was * (1 - GROWTH_MAX)) state = 'less';
    return { name, was, is, change, state };
  });
}

export function failed(verdicts) {
  return verdicts.filter(({ state }) => ['more', 'new', 'gone'].includes(state));
}

/** The verdicts as lines of text; the unit of each row is in `units`. */
export function lines(verdicts, units) {
  const number = (value) => (value === undefined ? '-' : value.toFixed(1)).padStart(10);
  const percent = (change) => (change === undefined ? '' : `${change < 0 ? '' : '+'}${(100 * change).toFixed(1)} %`);
  const note = { ok: '', less: 'less', excused: 'more, with a reason', more: 'MORE', new: 'NEW', gone: 'GONE' };
  const head = `${'row'.padEnd(28)} ${'baseline'.padStart(10)} ${'now'.padStart(10)} ${'change'.padStart(9)}`;
  return [`${head}  instructions per`, ...verdicts.map(({ name, was, is, change, state }) => {
    const figures = `${name.padEnd(28)} ${number(was)} ${number(is)} ${percent(change).padStart(9)}`;
    return `${figures}  ${(units[name] ?? '').padEnd(18)} ${note[state]}`.trimEnd();
  })];
}

function run(program, ...wanted) {
  return execFileSync(program, wanted, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim();
}

/** The baseline before the last change of the file, or null when history does not reach that far. */
function earlierBaseline(current) {
  try {
    const [last, before] = run('git', 'log', '-2', '--format=%H', '--', BASELINE).split('\n');
    const committed = run('git', 'show', `${last}:${BASELINE}`);
    if (committed !== current.trim()) return JSON.parse(committed);
    return before ? JSON.parse(run('git', 'show', `${before}:${BASELINE}`)) : null;
  } catch {
    return null;
  }
}

function tools() {
  return { rustc: run('rustc', '--version').split(' ')[1], valgrind: run('valgrind', '--version').split('-')[1] };
}

function explain(faults) {
  for (const { name, state } of faults) {
    const why = {
      more: 'costs over 5 % more',
      new: 'has no baseline',
      gone: 'is in the baseline and was not measured',
    };
    console.log(`instructions: ${name} ${why[state]}`);
  }
  if (faults.some(({ state }) => state === 'more')) {
    console.log('When it is worth it, say so under Unreleased in CHANGELOG.md: "- instructions: ROW: reason".');
  }
  console.log('scripts/instructions.sh --update rewrites the baseline.');
}

function main(goal, ...wanted) {
  const rows = readFileSync('target/instructions/rows.tsv', 'utf8');
  const measured = measuredRows(rows, readFileSync('target/instructions/counts.tsv', 'utf8'));
  const units = Object.fromEntries(table(rows).map(([name, , , unit]) => [name, unit]));
  const changelog = readFileSync('CHANGELOG.md', 'utf8');
  if (goal === 'update') {
    writeFileSync(BASELINE, `${JSON.stringify({ ...tools(), rows: measured }, null, 2)}\n`);
  }
  const text = readFileSync(BASELINE, 'utf8');
  const baseline = JSON.parse(text);
  const chosen = ([name]) => wanted.length === 0 || wanted.includes(name);
  const before = Object.fromEntries(Object.entries(baseline.rows).filter(chosen));
  const verdicts = compare(before, measured, excused(changelog));
  if (goal === 'compare') console.log(lines(verdicts, units).join('\n'));
  const faults = failed(verdicts);

  const earlier = earlierBaseline(text);
  // A row that came or went in the baseline is nobody's fault.
  const rewritten = earlier ? compare(earlier.rows, baseline.rows, excused(changelog, true)) : [];
  const grown = rewritten.filter(({ state }) => state === 'more');
  if (goal === 'update' && rewritten.length > 0) console.log(lines(rewritten, units).join('\n'));

  for (const [tool, version] of Object.entries(tools())) {
    if (baseline[tool] !== version) console.log(`note: ${tool} is ${version}, the baseline is by ${baseline[tool]}`);
  }
  if (verdicts.some(({ state }) => state === 'less')) {
    console.log('Rows cost over 5 % less than the baseline: keep the gain with scripts/instructions.sh --update.');
  }
  if (grown.length > 0) console.log('The baseline itself was raised:');
  if (faults.length + grown.length > 0) {
    explain([...faults, ...grown]);
    process.exitCode = 1;
  }
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) main(...process.argv.slice(2));
