// Writes the vectors in client/vectors anew: scenarios by name, clients in random worlds, and chaos.
//
//   node tests/page/record.js             writes them
//   node tests/page/record.js FOLDER N    writes N of chaos there, to compare clients by more

import { mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { pathToFileURL } from 'node:url';

import { chaos } from './chaos.js';
import { Round } from './round.js';
import { scenarios } from './scenarios.js';
import { FOLDER, listening, written } from './vectors.js';

const ROUNDS = 120;
const WORLDS = 5;
const MOST_BYTES = 28_000;

/** The lines of every client in a round: they end early where they would be too many. */
async function clientsOf(seed) {
  const round = new Round(seed);
  const watches = new Map();
  const lines = new Map();
  const watchOf = (core) => {
    // A core is first heard of behind the one before it.
    if (!watches.has(core)) watches.set(core, round.world.watches.at(-1));
    return watches.get(core);
  };
  const line = (core, step) => {
    const { person, maxPending, seed: random } = watchOf(core);
    const options = { username: person.username, shares: person.storage !== undefined, maxPending, idPrefix: 'id', seed: random };
    const all = lines.get(core) ?? [JSON.parse(JSON.stringify(options))];
    lines.set(core, [...all, step]);
  };
  const key = (watch) => `parlor ws://parlor.example/ws ${watch.person.username}`;
  const rememberedBy = (core) => watchOf(core).person.storage?.getItem(key(watchOf(core))) ?? undefined;
  await listening(() => round.play(), line, rememberedBy);
  return [...lines.values()];
}

/** What happens in a vector: what is done about which input. */
function features(lines) {
  const frame = ({ input }) => input.frame?.type ?? '';
  const what = (one) => one.outputs.map((output) => output.type ?? output.value?.seq ?? output.frame?.type ?? output.failure?.code ?? output.do).filter((word) => typeof word === 'string');
  return new Set(lines.slice(1).flatMap((one) => what(one).map((word) => `${one.input.do} ${frame(one)} ${word}`)));
}

/** The clients of random worlds that show most: each of the chosen shows most of what the others do not. */
async function worlds() {
  const all = [];
  for (let seed = 1; seed <= ROUNDS; seed += 1) all.push(...(await clientsOf(seed)));
  const small = all.filter((lines) => lines.some(({ input }) => input?.do === 'close') && written(lines).length <= MOST_BYTES);
  const known = new Set();
  const isNew = (lines) => [...features(lines)].filter((feature) => !known.has(feature)).length;
  return Array.from({ length: WORLDS }, (_, index) => {
    const lines = small.reduce((best, one) => (isNew(one) > isNew(best) ? one : best));
    for (const feature of features(lines)) known.add(feature);
    return { name: `world-${index + 1}`, lines };
  });
}

/** Everything that is in the folder. */
export async function recorded() {
  const named = scenarios().map(({ name, lines }) => ({ name: `scenario-${name}`, lines }));
  const random = Array.from({ length: 6 }, (_, index) => ({ name: `chaos-${index + 1}`, lines: chaos(index + 1, 130) }));
  return [...named, ...(await worlds()), ...random];
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const [folder, count] = process.argv.slice(2);
  const to = folder ? pathToFileURL(`${folder}/`) : FOLDER;
  mkdirSync(to, { recursive: true });
  for (const file of readdirSync(to)) if (file.endsWith('.jsonl')) rmSync(new URL(file, to));
  const vectors = folder ? Array.from({ length: Number(count) }, (_, index) => ({ name: `chaos-${index}`, lines: chaos(index, 300) })) : await recorded();
  for (const { name, lines } of vectors) writeFileSync(new URL(`${name}.jsonl`, to), written(lines));
}
