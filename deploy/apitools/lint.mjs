// Checks an OpenAPI document with Redocly's rules in redocly.yaml, and fails if there is an error or a warning:
//
//   node lint.mjs openapi.json
import {fileURLToPath} from 'node:url';
import {formatProblems, getTotals, lint, loadConfig} from '@redocly/openapi-core';

const config = await loadConfig({configPath: fileURLToPath(new URL('redocly.yaml', import.meta.url))});
const problems = await lint({ref: process.argv[2], config});
formatProblems(problems, {format: 'stylish', totals: getTotals(problems), version: ''});
process.exitCode = problems.length > 0 ? 1 : 0;
