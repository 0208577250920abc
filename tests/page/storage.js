// Where the server of a test keeps what is said, as arguments for it.

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';

/** Gone with the process. */
export const IN_MEMORY = ['--memory'];

/** In a folder of its own, which is there as long as the test `t` runs. */
export async function onDisk(t) {
  const folder = await mkdtemp(path.join(tmpdir(), 'parlor-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  return ['--data', folder];
}
