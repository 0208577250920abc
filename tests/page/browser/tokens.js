// Whoever gives people tokens, with a secret that the server knows.
import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';

export class Issuer {
  #binary;
  #secret;
  /** What tells the server that one gets in with a token alone. */
  arguments;

  /** Has a secret of its own, which is there as long as the test `t` runs. */
  static async begin(t, binary) {
    const folder = await mkdtemp(path.join(tmpdir(), 'parlor-'));
    t.after(() => rm(folder, { recursive: true, force: true }));
    const issuer = new Issuer();
    issuer.#binary = binary;
    issuer.#secret = path.join(folder, 'secret');
    issuer.arguments = ['--token-secret-file', issuer.#secret];
    await issuer.changesSecret();
    return issuer;
  }

  /** Tokens are good for servers that start from here on, and for no others. */
  async changesSecret() {
    await writeFile(this.#secret, randomBytes(32).toString('hex'), { mode: 0o600 });
  }

  /** @param {string} sub @param {{ ttl?: string, rooms?: string }} [claims] */
  async token(sub, { ttl = '1h', rooms } = {}) {
    const args = ['token', '--sub', sub, '--ttl', ttl, ...this.arguments, ...(rooms === undefined ? [] : ['--rooms', rooms])];
    const { stdout } = await promisify(execFile)(this.#binary, args);
    return stdout.trim();
  }
}
