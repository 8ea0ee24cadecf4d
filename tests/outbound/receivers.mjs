// Those to whom the server sends: HTTP receivers, a mail server, certificates for both. None shares code with the server.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { SMTPServer } from 'smtp-server';

/** A certificate for localhost and 127.0.0.1 with its own authority, made anew. */
export function certificate() {
  const directory = mkdtempSync(join(tmpdir(), 'colloque-certificate-'));
  const file = (name) => join(directory, name);
  const openssl = (...words) => execFileSync('openssl', words, { stdio: 'pipe' });
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];
  openssl('req', '-x509', ...key, '-keyout', file('ca.key'), '-out', file('ca.pem'), '-days', '2', '-subj', '/CN=Test authority');
  openssl('req', '-x509', ...key, '-keyout', file('key.pem'), '-out', file('cert.pem'), '-days', '2', '-subj', '/CN=localhost',
    '-CA', file('ca.pem'), '-CAkey', file('ca.key'), '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1',
    '-addext', 'basicConstraints=critical,CA:FALSE');
  return {
    authority: file('ca.pem'),
    pair: { cert: readFileSync(file('cert.pem')), key: readFileSync(file('key.pem')) },
    remove: () => rmSync(directory, { recursive: true, force: true }),
  };
}

/** A port that was free a moment ago, for what is to be down at first. */
export function freePort() {
  return new Promise((resolve) => {
    const probe = net.createServer().listen(0, '127.0.0.1', () => {
      const { port } = probe.address();
      probe.close(() => resolve(port));
    });
  });
}

/** An HTTP receiver. `answer(request, response)` may answer by itself; otherwise it gives a status. */
export class Receiver {
  constructor(answer = () => 200) {
    this.answer = answer;
    this.requests = [];
  }

  async start(port = 0, pair = undefined) {
    const handle = (request, response) => {
      const chunks = [];
      request.on('data', (chunk) => chunks.push(chunk)).on('end', async () => {
        const { method, url, headers } = request;
        const seen = { method, url, headers, body: Buffer.concat(chunks).toString('utf8') };
        const status = await this.answer(seen, response);
        if (typeof status !== 'number') return;
        if (status < 300) this.requests.push(seen);
        response.writeHead(status).end();
      });
    };
    this.server = pair ? https.createServer(pair, handle) : http.createServer(handle);
    await new Promise((resolve) => { this.server.listen(port, '127.0.0.1', resolve); });
    this.port = this.server.address().port;
    return this;
  }

  /** Acknowledged deliveries as events. */
  get events() { return this.requests.map(({ body }) => JSON.parse(body)); }

  stop() {
    this.server.closeAllConnections();
    return new Promise((resolve) => { this.server.close(resolve); });
  }
}

/** A mail server that wants TLS and a login. Keeps what it accepts. */
export class MailServer {
  constructor(pair, { refuse = () => undefined, password = 'letmein', hideTls = false } = {}) {
    this.messages = [];
    this.logins = 0;
    this.server = new SMTPServer({
      ...pair,
      hideSTARTTLS: hideTls,
      authMethods: ['PLAIN', 'LOGIN'],
      disableReverseLookup: true,
      // The server under test keeps a connection for the next message.
      closeTimeout: 200,
      onAuth: (auth, session, done) => {
        this.logins += 1;
        const good = session.secure && auth.username === 'colloque' && auth.password === password;
        done(good ? null : Object.assign(new Error('no'), { responseCode: 535 }), good ? { user: 'colloque' } : undefined);
      },
      onRcptTo: ({ address }, session, done) => {
        const code = refuse(address);
        done(code ? Object.assign(new Error('refused'), { responseCode: code }) : null);
      },
      onData: (stream, session, done) => {
        const chunks = [];
        stream.on('data', (chunk) => chunks.push(chunk)).on('end', () => {
          const { secure, user, envelope } = session;
          this.messages.push({ secure, user, envelope, raw: Buffer.concat(chunks).toString('latin1') });
          done(null, 'queued');
        });
      },
    });
    this.server.on('error', () => {});
  }

  start(port = 0) {
    return new Promise((resolve) => {
      const listening = this.server.listen(port, '127.0.0.1', () => { this.port = listening.address().port; resolve(this); });
    });
  }

  stop() { return new Promise((resolve) => { this.server.close(resolve); }); }
}

/** Headers and text of a message of one part. */
export function readMail(raw) {
  const at = raw.indexOf('\r\n\r\n');
  const lines = raw.slice(0, at).replace(/\r\n[ \t]+/g, ' ').split('\r\n');
  const headers = lines.map((line) => [line.slice(0, line.indexOf(':')).toLowerCase(), line.slice(line.indexOf(':') + 2)]);
  const encoding = headers.find(([name]) => name === 'content-transfer-encoding')?.[1];
  const body = raw.slice(at + 4);
  const bytes = encoding === 'base64' ? Buffer.from(body, 'base64')
    : encoding === 'quoted-printable' ? Buffer.from(body.replace(/=\r\n/g, '')
      .replace(/=([0-9A-F]{2})/g, (_, hex) => String.fromCharCode(parseInt(hex, 16))), 'latin1')
      : Buffer.from(body, 'latin1');
  return { headers, names: headers.map(([name]) => name), get: Object.fromEntries(headers), text: bytes.toString('utf8') };
}

/** An RFC 2047 header value in UTF-8. */
export function readHeader(value) {
  return value.replace(/\?=\s+=\?/g, '?==?').replace(/=\?utf-8\?(b|q)\?(.*?)\?=/gi, (_, form, text) => (form.toLowerCase() === 'b'
    ? Buffer.from(text, 'base64').toString('utf8')
    : Buffer.from(text.replace(/_/g, ' ').replace(/=([0-9A-F]{2})/gi, (__, hex) => String.fromCharCode(parseInt(hex, 16))), 'latin1')
      .toString('utf8')));
}
