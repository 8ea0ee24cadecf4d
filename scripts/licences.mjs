// Checks offline that every dependency of the server and of the pages has a licence we accept.
// Exit status 1 names each one that does not. Not a legal opinion: a gate against surprises.
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';

const ACCEPTED = new Set([
  'MIT', 'MIT-0', 'Apache-2.0', 'Apache-2.0 WITH LLVM-exception', 'BSD-2-Clause', 'BSD-3-Clause', 'ISC', '0BSD',
  'Zlib', 'Unicode-3.0', 'CC0-1.0', 'Unlicense', 'BSL-1.0', 'OpenSSL', 'CDLA-Permissive-2.0', 'NCSA', 'MPL-2.0',
  'BlueOak-1.0.0', 'Python-2.0', 'CC-BY-4.0',
]);

/** SPDX expression → whether some choice of it is accepted. `/` is the old spelling of OR. */
export function accepted(expression) {
  const text = expression.replaceAll('/', ' OR ').trim();
  const tokens = text.match(/\(|\)|[^\s()]+/g) ?? [];
  let at = 0;
  const or = () => {
    let good = and();
    while (tokens[at] === 'OR') { at += 1; good = and() || good; }
    return good;
  };
  const and = () => {
    let good = term();
    while (tokens[at] === 'AND') { at += 1; good = term() && good; }
    return good;
  };
  const term = () => {
    if (tokens[at] === '(') {
      at += 1;
      const good = or();
      at += 1;
      return good;
    }
    let name = tokens[at];
    at += 1;
    if (tokens[at] === 'WITH') {
      name += ` WITH ${tokens[at + 1]}`;
      at += 2;
    }
    return ACCEPTED.has(name);
  };
  return tokens.length > 0 && or() && at === tokens.length;
}

function rustPackages() {
  // Packages of other platforms are never downloaded, so an offline look cannot see them.
  const host = execFileSync('rustc', ['-vV'], { encoding: 'utf8' }).match(/^host: (.*)$/m)[1];
  const wanted = ['metadata', '--format-version', '1', '--offline', '--locked', '--filter-platform', host];
  const output = execFileSync('cargo', wanted, { maxBuffer: 256 << 20 });
  return JSON.parse(output).packages.filter((p) => p.source).map((p) => ({
    name: `${p.name} ${p.version}`,
    licence: p.license ?? '',
  }));
}

function npmPackages() {
  const lock = JSON.parse(readFileSync('web-client/package-lock.json', 'utf8'));
  return Object.entries(lock.packages).filter(([path]) => path).map(([path, entry]) => {
    const manifest = `web-client/${path}/package.json`;
    const licence = entry.license ?? (existsSync(manifest) ? JSON.parse(readFileSync(manifest, 'utf8')).license : '');
    return { name: `${path.replace(/^.*node_modules\//, '')} ${entry.version}`, licence: licence ?? '' };
  });
}

const all = [...rustPackages(), ...npmPackages()];
const refused = all.filter((p) => !accepted(p.licence));
for (const p of refused) console.error(`licence not accepted: ${p.name}: ${p.licence || 'none stated'}`);
console.log(`licences: ${all.length} packages checked, ${refused.length} refused`);
process.exit(refused.length ? 1 : 0);
