// Webhooks of a real server against receivers that check every signature by the library of Standard Webhooks.
import assert from 'node:assert/strict';
import test from 'node:test';

import { Webhook } from 'standardwebhooks';

import { Receiver, certificate, freePort } from './receivers.mjs';
import { Server, until } from './server.mjs';

const allowed = (...ports) => `webhook_hosts = [${ports.map((port) => `"127.0.0.1:${port}"`).join(', ')}]
allow_http_webhooks = true
`;

async function withServer(settings, run) {
  const server = new Server(settings);
  try {
    await server.start();
    await run(server);
  } finally {
    await server.remove();
  }
}

const hook = (server, port) => server.wanted('POST', '/v1/webhooks', { url: `http://127.0.0.1:${port}/hook` });

/** Every request bears the signature of this secret; gives the events. */
function verified(receiver, secret) {
  const webhook = new Webhook(secret);
  return receiver.requests.map(({ body, headers }) => {
    const event = webhook.verify(body, headers);
    assert.equal(headers['webhook-id'], event.id);
    assert.equal(headers['content-type'], 'application/json');
    return event;
  });
}

test('deliveries bear a signature that an independent library verifies, and that a change breaks', async () => {
  const receiver = await new Receiver().start();
  await withServer(allowed(receiver.port), async (server) => {
    const { id, secret, cursor } = await hook(server, receiver.port);
    assert.deepEqual(await server.wanted('POST', `/v1/webhooks/${id}/test`), { delivered: true, outcome: 'delivered', status: 200 });
    await server.book();
    const feed = await server.events(cursor);
    await until(() => receiver.requests.length >= feed.length + 1, 'the events');
    const events = verified(receiver, secret).filter(({ kind }) => kind !== 'webhook.test');
    assert.deepEqual(events, feed);
    const [{ body, headers }] = receiver.requests;
    const other = new Webhook(`whsec_${Buffer.alloc(32, 7).toString('base64')}`);
    assert.throws(() => other.verify(body, headers));
    assert.throws(() => new Webhook(secret).verify(body.replace('"', ' "'), headers));
    assert.throws(() => new Webhook(secret).verify(body, { ...headers, 'webhook-id': 'another' }));
    assert.equal(await server.metric('colloque_webhook_deliveries_total{outcome="delivered"}'), receiver.requests.length);
  });
  await receiver.stop();
});

test('a receiver that was down gets everything, in order, once it is up', async () => {
  const port = await freePort();
  await withServer(allowed(port), async (server) => {
    const { secret, cursor } = await hook(server, port);
    for (let n = 0; n < 5; n += 1) await server.book();
    await until(() => server.metric('colloque_webhook_deliveries_total{outcome="unreachable"}'), 'a failed delivery');
    const receiver = await new Receiver().start(port);
    const feed = await server.events(cursor);
    assert.ok(feed.length >= 15);
    await until(() => receiver.requests.length >= feed.length, 'the events');
    assert.deepEqual(verified(receiver, secret), feed);
    await until(async () => await server.metric('colloque_webhooks_behind') === 0, 'nothing behind');
    await receiver.stop();
  });
});

test('killed in the middle: nothing is lost, and what comes twice has the same identifier', async () => {
  const receiver = await new Receiver(async () => { await new Promise((resolve) => { setTimeout(resolve, 3); }); return 200; }).start();
  await withServer(allowed(receiver.port), async (server) => {
    const { secret, cursor } = await hook(server, receiver.port);
    for (let n = 0; n < 120; n += 1) await server.book();
    for (const delivered of [20, 150, 220]) {
      await until(() => receiver.requests.length >= delivered, `${delivered} deliveries`);
      await server.kill();
      await server.start();
    }
    const feed = await server.events(cursor);
    const heard = () => new Set(receiver.events.map(({ id }) => id)).size;
    await until(() => heard() >= feed.length, 'all events');
    const first = new Map();
    for (const event of verified(receiver, secret)) {
      if (first.has(event.id)) assert.deepEqual(event, first.get(event.id), 'a double is the same event');
      else first.set(event.id, event);
    }
    assert.deepEqual([...first.values()], feed, 'first deliveries are in the order of the feed');
    assert.ok(receiver.requests.length - feed.length <= 3 * 64, 'doubles are bounded by a batch each kill');
  });
  await receiver.stop();
});

test('redirects are not followed, long answers not read, and hosts that are not listed not reached', async () => {
  const inside = await new Receiver().start();
  let written = 0;
  const receiver = await new Receiver((request, response) => {
    if (request.url === '/redirect') {
      response.writeHead(307, { location: `http://127.0.0.1:${inside.port}/secret` }).end();
      return undefined;
    }
    response.writeHead(200);
    const timer = setInterval(() => { written += 65_536; response.write(Buffer.alloc(65_536)); }, 1);
    response.on('close', () => clearInterval(timer));
    return undefined;
  }).start();
  await withServer(allowed(receiver.port), async (server) => {
    const test = async (path) => {
      const { id } = await server.wanted('POST', '/v1/webhooks', { url: `http://127.0.0.1:${receiver.port}${path}` });
      return server.wanted('POST', `/v1/webhooks/${id}/test`);
    };
    assert.deepEqual(await test('/redirect'), { delivered: false, outcome: 'refused', status: 307 });
    assert.deepEqual(await test('/endless'), { delivered: true, outcome: 'delivered', status: 200 });
    assert.ok(written < 64 << 20, `${written} bytes were written before the server hung up`);
    for (const url of [`http://127.0.0.1:${inside.port}/`, `http://localhost:${receiver.port}/`, 'http://169.254.169.254/',
      `http://x@127.0.0.1:${receiver.port}/`, `http://[::1]:${receiver.port}/`]) {
      const { status, body } = await server.api('POST', '/v1/webhooks', { url });
      assert.deepEqual([status, body.type], [422, 'urn:colloque:problem:webhook-target'], url);
    }
  });
  assert.equal(inside.requests.length, 0);
  await Promise.all([receiver.stop(), inside.stop()]);
});

test('over https the receiver must have a certificate that the operator trusts', async () => {
  const made = certificate();
  const receiver = await new Receiver().start(0, made.pair);
  const url = `https://localhost:${receiver.port}/hook`;
  const hosts = `webhook_hosts = ["localhost:${receiver.port}", "127.0.0.1", "::1"]\n`;
  const test = async (server) => {
    const { id } = await server.wanted('POST', '/v1/webhooks', { url });
    return server.wanted('POST', `/v1/webhooks/${id}/test`);
  };
  await withServer(hosts, async (server) => {
    assert.deepEqual(await test(server), { delivered: false, outcome: 'unreachable', status: null });
  });
  await withServer(`${hosts}trusted_ca = "${made.authority}"\n`, async (server) => {
    assert.deepEqual(await test(server), { delivered: true, outcome: 'delivered', status: 200 });
  });
  // The name alone is not enough: it leads to this machine.
  await withServer(`webhook_hosts = ["localhost:${receiver.port}"]\ntrusted_ca = "${made.authority}"\n`, async (server) => {
    assert.deepEqual(await test(server), { delivered: false, outcome: 'unreachable', status: null });
  });
  assert.equal(receiver.events.filter(({ kind }) => kind === 'webhook.test').length, 1);
  await receiver.stop();
  made.remove();
});

test('a secret is changed without a gap, and a replay repeats the same events', async () => {
  const receiver = await new Receiver().start();
  await withServer(allowed(receiver.port), async (server) => {
    const { id, secret, cursor } = await hook(server, receiver.port);
    const changed = await server.wanted('POST', `/v1/webhooks/${id}/rotate`);
    assert.notEqual(changed.secret, secret);
    receiver.requests.length = 0;
    await server.wanted('POST', `/v1/webhooks/${id}/test`);
    const tested = receiver.requests.filter(({ body }) => body.includes('webhook.test'));
    for (const each of [secret, changed.secret]) new Webhook(each).verify(tested[0].body, tested[0].headers);
    await server.book();
    const feed = await server.events(cursor);
    const booked = () => receiver.events.filter(({ kind }) => kind === 'consultation.created');
    await until(() => booked().length === 1, 'the booking');
    await server.wanted('POST', `/v1/webhooks/${id}/replay`, { after: cursor });
    await until(() => booked().length === 2, 'the booking again');
    assert.deepEqual(booked()[0], booked()[1]);
    assert.ok(feed.some(({ kind }) => kind === 'webhook.secret_rotated'));
    assert.equal((await server.api('POST', `/v1/webhooks/${id}/replay`, { after: '9999999999999999' })).status, 410);
  });
  await receiver.stop();
});
