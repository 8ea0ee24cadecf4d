// Software bill of materials of the server (CycloneDX 1.5, JSON) on standard output.
//
// Read from Cargo.lock and from what cargo resolves for the release build on Linux, offline and in a second; nothing of
// this machine is in it. `required` components are in the binary; `excluded` ones (procedural macros, build scripts and
// what they need) only ran while it was built. Tests' and benchmarks' dependencies are left out.
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const ROOT = 'colloque';
const TARGET = 'x86_64-unknown-linux-gnu';

function run(command, ...flags) {
  return execFileSync(command, flags, { cwd: new URL('..', import.meta.url), encoding: 'utf8', maxBuffer: 256 << 20 });
}

const idOf = (name, version) => `${name}@${version}`;

/** What `cargo tree` prints for the root with these edges: identifiers. */
function tree(edges) {
  const text = run('cargo', 'tree', '--locked', '--offline', '--target', TARGET, '-p', ROOT, '-e', edges,
    '--prefix', 'none', '--no-dedupe', '--format', '{p}');
  return new Set(text.split('\n').filter(Boolean).map((line) => {
    const [name, version] = line.split(' ');
    return idOf(name, version.slice(1));
  }));
}

/** SHA-256 of each crate's archive, from Cargo.lock. */
function checksums() {
  const lock = readFileSync(new URL('../Cargo.lock', import.meta.url), 'utf8');
  const entry = /name = "([^"]+)"\nversion = "([^"]+)"\n(?:source = "[^"]+"\n)?(?:checksum = "([0-9a-f]{64})")?/g;
  return new Map([...lock.matchAll(entry)].map(([, name, version, sum]) => [idOf(name, version), sum]));
}

/** Packages by identifier, with their edges to others: `{ to, build }`. */
function packages() {
  const metadata = JSON.parse(run('cargo', 'metadata', '--format-version', '1', '--locked', '--offline',
    '--filter-platform', TARGET));
  const byCargoId = new Map(metadata.packages.map((pack) => [pack.id, pack]));
  const name = (id) => idOf(byCargoId.get(id).name, byCargoId.get(id).version);
  return new Map(metadata.resolve.nodes.map((node) => {
    const edges = node.deps.flatMap((dep) => dep.dep_kinds.filter((kind) => kind.kind !== 'dev')
      .map((kind) => ({ to: name(dep.pkg), build: kind.kind === 'build' })));
    return [name(node.id), { ...byCargoId.get(node.id), edges }];
  }));
}

/** What is reachable over ordinary dependencies without passing through the compiler's own process. */
function shipped(all, known, root) {
  const found = new Set();
  const open = [root];
  for (let id = open.pop(); id !== undefined; id = open.pop()) {
    const isMacro = all.get(id).targets.some((target) => target.kind.includes('proc-macro'));
    if (found.has(id) || !known.has(id) || isMacro) continue;
    found.add(id);
    open.push(...all.get(id).edges.filter((edge) => !edge.build).map((edge) => edge.to));
  }
  return found;
}

function component(pack, checksum) {
  const id = idOf(pack.name, pack.version);
  return {
    type: 'library',
    'bom-ref': `pkg:cargo/${id}`,
    name: pack.name,
    version: pack.version,
    ...(pack.description && { description: pack.description.trim() }),
    ...(checksum && { hashes: [{ alg: 'SHA-256', content: checksum }] }),
    // `/` is the old spelling of OR.
    ...(pack.license && { licenses: [{ expression: pack.license.replaceAll(/ ?\/ ?/g, ' OR ') }] }),
    purl: `pkg:cargo/${id}`,
    ...(pack.repository && { externalReferences: [{ type: 'vcs', url: pack.repository }] }),
  };
}

/** The whole document. */
export function bom() {
  const all = packages();
  const sums = checksums();
  const root = [...all.keys()].find((id) => id.startsWith(`${ROOT}@`));
  const known = tree('normal,build');
  const required = shipped(all, tree('normal'), root);
  const ids = [...known].filter((id) => id !== root).sort();
  const ref = (id) => `pkg:cargo/${id}`;
  const dependencies = [root, ...ids].map((id) => ({
    ref: ref(id),
    dependsOn: [...new Set(all.get(id).edges.map((edge) => edge.to))].filter((to) => known.has(to)).sort().map(ref),
  }));
  return {
    $schema: 'http://cyclonedx.org/schema/bom-1.5.schema.json',
    bomFormat: 'CycloneDX',
    specVersion: '1.5',
    version: 1,
    metadata: {
      lifecycles: [{ phase: 'build' }],
      component: { ...component(all.get(root)), type: 'application' },
    },
    components: ids.map((id) => ({
      ...component(all.get(id), sums.get(id)),
      scope: required.has(id) ? 'required' : 'excluded',
    })),
    dependencies,
  };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  process.stdout.write(`${JSON.stringify(bom(), null, 2)}\n`);
}
