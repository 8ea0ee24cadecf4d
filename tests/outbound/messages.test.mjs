// Invitations of a real server by e-mail (a mail server with STARTTLS and login) and SMS (an HTTP gateway).
import assert from 'node:assert/strict';
import test from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';

import { MailServer, Receiver, certificate, freePort, readHeader, readMail } from './receivers.mjs';
import { Server, until } from './server.mjs';

const made = certificate();
test.after(() => made.remove());

const mailSettings = (port, more = '') => `trusted_ca = "${made.authority}"
[email]
host = "localhost"
port = ${port}
user = "colloque"
password = "letmein"
from = "Maison de santé <rdv@clinic.example>"
${more}`;

async function withServer(settings, run, clinic) {
  const server = new Server(settings, clinic);
  try {
    await server.start();
    await run(server);
    for (const secret of ['letmein', 'sesame', 'camille', '612345678']) {
      assert.ok(!server.log.includes(secret), `the log shows ${secret}`);
    }
  } finally {
    await server.remove();
  }
}

const kinds = async (server) => (await server.events()).map(({ kind }) => kind);
const fact = (server, kind) => until(async () => (await kinds(server)).includes(kind), kind);

test('an invitation waits for the mail server, then arrives once, secured, with a link that opens the seat', async () => {
  const port = await freePort();
  await withServer(mailSettings(port), async (server) => {
    const starts = '2026-12-01T13:05:00Z';
    const { id, seats } = await server.book({ email: 'camille@patient.example', notify: ['email'] }, { starts_at: starts });
    await until(() => server.metric('colloque_messages_total{channel="email",outcome="delayed"}'), 'a failed attempt');
    const mail = await new MailServer(made.pair).start(port);
    await until(() => mail.messages.length, 'the message');
    await fact(server, 'message.sent');
    await sleep(1_000);
    assert.equal(mail.messages.length, 1);
    const [{ secure, user, envelope, raw }] = mail.messages;
    assert.deepEqual([secure, user, envelope.mailFrom.address, envelope.rcptTo.map(({ address }) => address)],
      [true, 'colloque', 'rdv@clinic.example', ['camille@patient.example']]);
    const read = readMail(raw);
    assert.equal(read.get.to, 'camille@patient.example');
    assert.equal(readHeader(read.get.from).replaceAll('"', ''), 'Maison de santé <rdv@clinic.example>');
    assert.equal(readHeader(read.get.subject), 'Votre rendez-vous vidéo');
    assert.match(read.get['message-id'], /^<[\w-]{22}@clinic\.example>$/);
    assert.match(read.text, /Maison de santé vous invite à un rendez-vous vidéo le mardi 1er décembre 2026 à 14 h 05 \(UTC\+1\)\./);
    assert.doesNotMatch(read.text, /teleconsultation|téléconsultation|patient/i);
    const token = read.text.match(/http:\/\/\S+\/join#(\S+)/)[1];
    const joined = await server.wanted('POST', '/v1/join', { token, device: '' });
    assert.deepEqual([joined.consultation, joined.seat], [id, seats[1].id]);
    await mail.stop();
  });
});

test('an address that the mail server refuses is given up at once, and told', async () => {
  const mail = await new MailServer(made.pair, { refuse: () => 550 }).start();
  await withServer(mailSettings(mail.port), async (server) => {
    const { id, seats } = await server.book({ email: 'camille@patient.example', notify: ['email'] });
    await fact(server, 'message.failed');
    const failed = (await server.events()).find(({ kind }) => kind === 'message.failed');
    assert.deepEqual([failed.consultation, failed.seat, failed.data], [id, seats[1].id, { channel: 'email' }]);
  });
  await mail.stop();
});

test('without TLS or with a wrong password nothing is said of the patient, and nothing is given up', async () => {
  const open = await new MailServer(made.pair, { hideTls: true }).start();
  const strict = await new MailServer(made.pair, { password: 'another' }).start();
  for (const mail of [open, strict]) {
    await withServer(mailSettings(mail.port), async (server) => {
      await server.book({ email: 'camille@patient.example', notify: ['email'] });
      await until(() => server.metric('colloque_messages_total{channel="email",outcome="delayed"}'), 'a failed attempt');
      assert.deepEqual(mail.messages, []);
      assert.ok(!(await kinds(server)).includes('message.failed'));
    });
  }
  assert.deepEqual([open.logins, strict.logins > 0], [0, true]);
  await Promise.all([open.stop(), strict.stop()]);
});

test('neither an address nor the name of a clinic brings a header with it', async () => {
  const mail = await new MailServer(made.pair).start();
  await withServer(mailSettings(mail.port), async (server) => {
    for (const email of ['a@b.example\r\nBcc: c@d.example', 'a@b.example, c@d.example', 'A <a@b.example>', 'nobody']) {
      const seats = [{ role: 'patient', email, notify: ['email'] }];
      assert.equal((await server.api('POST', '/v1/consultations', { act: 'teleconsultation', seats })).status, 422, email);
    }
    await server.book({ email: 'camille@patient.example', notify: ['email'] }, { language: 'en' });
    await until(() => mail.messages.length, 'the message');
    const read = readMail(mail.messages[0].raw);
    assert.ok(!read.names.includes('bcc'), read.names.join());
    assert.deepEqual(mail.messages[0].envelope.rcptTo.map(({ address }) => address), ['camille@patient.example']);
    assert.match(read.text, /^Hello,\r?\n\r?\nClinic <x@y\.example>, Bcc: a@b\.example invites you to a video appointment\./);
  }, 'Clinic <x@y.example>, Bcc: a@b.example');
  await assert.rejects(withServer(mailSettings(mail.port), () => {}, 'Clinic\r\nBcc: x@y.example'), /control characters/);
  await mail.stop();
});

test('a seat that was revoked or removed before its invitation left is not sent what no longer works', async () => {
  const port = await freePort();
  await withServer(mailSettings(port), async (server) => {
    const revoked = await server.book({ email: 'camille@patient.example', notify: ['email'] });
    const removed = await server.book({ email: 'gone@patient.example', notify: ['email'] });
    const path = ({ id, seats }, action) => `/v1/consultations/${id}/seats/${seats[1].id}/${action}`;
    const renewed = await server.wanted('POST', path(revoked, 'revoke'));
    await server.wanted('POST', path(removed, 'remove'));
    const mail = await new MailServer(made.pair).start(port);
    await until(() => mail.messages.length, 'the message');
    await until(() => server.metric('colloque_messages_total{channel="email",outcome="withdrawn"}'), 'the other withdrawn');
    assert.deepEqual(mail.messages.map(({ envelope }) => envelope.rcptTo[0].address), ['camille@patient.example']);
    const token = readMail(mail.messages[0].raw).text.match(/\/join#(\S+)/)[1];
    assert.equal((await server.api('POST', '/v1/join', { token, device: '' })).status, 200);
    assert.equal((await server.api('POST', '/v1/join', { token: renewed.token, device: '' })).status, 200);
    await mail.stop();
  });
});

const smsSettings = (port) => `[sms]
url = "http://127.0.0.1:${port}/send"
authorization = "Bearer sesame"
body = '{"recipient": "{to}", "message": "{text}", "reference": "{id}"}'
headers = { "Idempotency-Key" = "{id}" }
`;

test('an SMS is tried again after a failure, with the same identifier, until the gateway takes it', async () => {
  const attempts = [];
  const gateway = await new Receiver((request) => { attempts.push(request); return attempts.length === 1 ? 503 : 202; }).start();
  await withServer(smsSettings(gateway.port), async (server) => {
    const { seats } = await server.book({ phone: '+33 6 12 34 56 78', notify: ['sms'] });
    await fact(server, 'message.sent');
    assert.equal(attempts.length, 2);
    const [first, second] = attempts.map(({ body }) => JSON.parse(body));
    assert.equal(first.recipient, '+33612345678');
    assert.deepEqual([second.recipient, second.reference], [first.recipient, first.reference]);
    for (const { headers } of attempts) {
      assert.deepEqual([headers.authorization, headers['idempotency-key']], ['Bearer sesame', first.reference]);
    }
    assert.match(second.message, /^Maison de santé : votre rendez-vous vidéo\. Lien personnel : http:/);
    const token = second.message.match(/\/join#(\S+)$/)[1];
    assert.equal((await server.wanted('POST', '/v1/join', { token, device: '' })).seat, seats[1].id);
  });
  await gateway.stop();
});

test('a seat that is invited in mid-call is sent its link too, and an unusable number is refused', async () => {
  const gateway = await new Receiver().start();
  await withServer(smsSettings(gateway.port), async (server) => {
    const { id } = await server.book();
    const seat = { role: 'companion', phone: '06 12 34 56 78', notify: ['sms'] };
    await server.wanted('POST', `/v1/consultations/${id}/seats`, seat);
    await until(() => gateway.requests.length, 'the SMS');
    const unusable = { ...seat, phone: 'sip:a@b.example' };
    assert.equal((await server.api('POST', `/v1/consultations/${id}/seats`, unusable)).status, 422);
    assert.equal((await server.api('POST', `/v1/consultations/${id}/seats`, { ...seat, notify: ['pigeon'] })).status, 400);
  });
  await gateway.stop();
});

test('killed before it could leave, an invitation leaves after the restart', async () => {
  const port = await freePort();
  await withServer(smsSettings(port), async (server) => {
    await server.book({ phone: '+33612345678', notify: ['sms'] });
    await server.kill();
    const gateway = await new Receiver().start(port);
    await server.start();
    await fact(server, 'message.sent');
    assert.equal(gateway.requests.length, 1);
    await gateway.stop();
  });
});
