// Part of .ci/protocol: `node protocol.mjs ASYNCAPI SCHEMA`.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { Parser } from '@asyncapi/parser';
import Ajv from 'ajv/dist/2020.js';

const [asyncapi, schema] = process.argv.slice(2).map((file) => readFileSync(file, 'utf8'));

const { document, diagnostics } = await new Parser().parse(asyncapi);
const ERROR_OR_WARNING = 1;
const wrong = diagnostics.filter(({ severity }) => severity <= ERROR_OR_WARNING);
for (const { path, message } of wrong) console.error(`${path.join('.')}: ${message}`);
assert.deepEqual(wrong, []);
const operations = document.operations().all();
assert.deepEqual(operations.map((operation) => operation.action()).sort(), ['receive', 'send']);

const ajv = new Ajv({ allErrors: true, allowUnionTypes: true });
ajv.addSchema(JSON.parse(schema), 'parlor');
const messages = operations.flatMap((operation) => operation.messages().all());
assert(messages.length > 20);
for (const message of messages) {
  const validate = ajv.getSchema(`parlor#/$defs/${message.id()}`);
  const example = message.examples().all()[0].payload();
  assert(validate(example), `${message.id()}: ${ajv.errorsText(validate.errors)}`);
  assert(!validate({ ...example, type: 'another' }), `${message.id()} is anything`);
}
console.log(`AsyncAPI and Ajv read ${messages.length} messages`);
