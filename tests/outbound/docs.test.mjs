// The examples of docs/events.md, run as they stand there against real deliveries.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import test from 'node:test';

import { Receiver } from './receivers.mjs';
import { Server } from './server.mjs';

const page = readFileSync(new URL('../../docs/events.md', import.meta.url), 'utf8');
const example = (language) => page.match(new RegExp(`\`\`\`${language} verify\n(.*?)\`\`\``, 's'))[1];

/** The first delivery of a server's webhook, with its secret. */
async function delivery() {
  const receiver = await new Receiver().start();
  const server = new Server(`webhook_hosts = ["127.0.0.1:${receiver.port}"]\nallow_http_webhooks = true\n`);
  try {
    await server.start();
    const { id, secret } = await server.wanted('POST', '/v1/webhooks', { url: `http://127.0.0.1:${receiver.port}/` });
    await server.wanted('POST', `/v1/webhooks/${id}/rotate`);
    await server.wanted('POST', `/v1/webhooks/${id}/test`);
    const { headers, body } = receiver.requests.find((request) => request.body.includes('webhook.test'));
    return { secret, headers, body };
  } finally {
    await server.remove();
    await receiver.stop();
  }
}

test('the examples take a real delivery and nothing that differs from it', async () => {
  const { secret, headers, body } = await delivery();
  const { verify } = await import(`data:text/javascript,${encodeURIComponent(example('js'))}`);
  const python = (key, fields, text) => {
    const given = { secret: key, headers: fields, body: text };
    const code = `${example('python')}
import sys
given = json.load(sys.stdin)
print(json.dumps(verify(given["secret"], given["headers"], given["body"].encode())))`;
    const { status, stdout, stderr } = spawnSync('python3', ['-c', code], { input: JSON.stringify(given), encoding: 'utf8' });
    if (status !== 0) throw new Error(stderr);
    return JSON.parse(stdout);
  };
  const other = `whsec_${Buffer.alloc(32).toString('base64')}`;
  const old = { ...headers, 'webhook-timestamp': String(Number(headers['webhook-timestamp']) - 600) };
  for (const check of [verify, python]) {
    assert.deepEqual(check(secret, headers, body), JSON.parse(body));
    assert.equal(check(secret, headers, body).kind, 'webhook.test');
    assert.throws(() => check(other, headers, body), /not signed/);
    assert.throws(() => check(secret, headers, `${body} `), /not signed/);
    assert.throws(() => check(secret, { ...headers, 'webhook-id': 'x' }, body), /not signed/);
    assert.throws(() => check(secret, old, body), /too old/);
  }
});
