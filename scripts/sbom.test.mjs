// The bill of materials names what ships, by what a scanner looks for, and nothing of the machine that wrote it.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { bom } from './sbom.mjs';

const document = bom();
const find = (name) => document.components.filter((component) => component.name === name);

test('the crates that ship are required, those that only build are excluded, those that only test are absent', () => {
  for (const name of ['boring-sys', 'aws-lc-rs', 'libsqlite3-sys', 'rtc-sctp', 'axum', 'reqwest', 'lettre', 'colloque-signaling']) {
    assert.equal(find(name)[0]?.scope, 'required', name);
  }
  for (const name of ['serde_derive', 'bindgen', 'cc']) assert.equal(find(name)[0]?.scope, 'excluded', name);
  for (const name of ['str0m', 'colloque-loadtest', 'criterion']) assert.deepEqual(find(name), [], name);
});

test('every crate of a registry has its archive\'s checksum and a licence', () => {
  for (const component of document.components) {
    assert.ok(component.licenses?.[0].expression, component.name);
    assert.ok(!component.licenses[0].expression.includes('/'), component.licenses[0].expression);
    const ours = component.name.startsWith('colloque');
    assert.equal(component.hashes?.[0].content.length, ours ? undefined : 64, component.name);
  }
});

test('every dependency is a component, and every component but the root is needed by another', () => {
  const refs = new Set([document.metadata.component, ...document.components].map((component) => component['bom-ref']));
  assert.equal(refs.size, document.components.length + 1, 'each once');
  const needed = new Set();
  for (const { ref, dependsOn } of document.dependencies) {
    assert.ok(refs.has(ref), ref);
    for (const on of dependsOn) {
      assert.ok(refs.has(on), on);
      needed.add(on);
    }
  }
  assert.equal(needed.size, document.components.length);
});

test('nothing of this machine is in it', () => {
  const text = JSON.stringify(document);
  for (const trace of ['file:', 'path+', `${process.cwd()}/`, `${process.env.HOME}/`]) assert.ok(!text.includes(trace), trace);
});
