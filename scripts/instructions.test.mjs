// The verdict of scripts/instructions.mjs: what fails the gate, and what excuses it. `node --test scripts/`.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { compare, excused, failed, lines, measuredRows } from './instructions.mjs';

const states = (before, now, reasons = []) =>
  Object.fromEntries(compare(before, now, new Set(reasons)).map(({ name, state }) => [name, state]));

test('counts become instructions per unit', () => {
  const rows = 'a/1\t8\t50\tpacket\nb\t1000\t50\tdatagram\nc\t1\t50\tpacket\n';
  assert.deepEqual(measuredRows(rows, 'b\t475000\na/1\t4700591\n'), { 'a/1': 11751.5, b: 9.5 });
});

test('a row of which nothing was counted is an error, not a gain', () => {
  assert.throws(() => measuredRows('a\t8\t50\tpacket\n', 'a\t0\n'), /a: nothing was counted/);
  assert.throws(() => measuredRows('a\t8\t50\tpacket\n', 'a\t\n'), /a: nothing was counted/);
});

test('a row may grow by five percent and not by more', () => {
  assert.deepEqual(states({ a: 1000, b: 1000, c: 1000 }, { a: 1050, b: 1051, c: 900 }), { a: 'ok', b: 'more', c: 'less' });
  assert.deepEqual(failed(compare({ a: 1000, b: 1000 }, { a: 1060, b: 1000 }, new Set())).map(({ name }) => name), ['a']);
});

test('a reason excuses its own row only', () => {
  assert.deepEqual(states({ a: 100, b: 100 }, { a: 200, b: 200 }, ['b']), { a: 'more', b: 'excused' });
});

test('a row without a baseline and a baseline without its row fail', () => {
  const verdicts = compare({ a: 1, gone: 1 }, { a: 1, fresh: 1 }, new Set());
  assert.deepEqual(failed(verdicts).map(({ name, state }) => [name, state]), [['fresh', 'new'], ['gone', 'gone']]);
});

test('reasons stand under Unreleased, one a row, and say something', () => {
  const changelog = [
    '# Changelog', '', '## Unreleased', '',
    '- instructions: fan_out/9/1200: each packet now carries its age', '- instructions: nack/1200:', '',
    '## 1.0.0', '', '- instructions: srtp/open: older', '',
  ].join('\n');
  assert.deepEqual([...excused(changelog)], ['fan_out/9/1200']);
  assert.deepEqual([...excused(changelog, true)], ['fan_out/9/1200', 'srtp/open']);
});

test('the table shows both figures and the change', () => {
  const [, line] = lines(compare({ a: 100 }, { a: 112.5 }, new Set()), { a: 'packet' });
  assert.match(line, /^a +100\.0 +112\.5 +\+12\.5 % +packet +MORE$/);
});
