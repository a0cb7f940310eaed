// A portal that uses the client of openapi-typescript. The portal places orders on a running server, and fails if an answer does not
// match the types. The test writes the types, openapi.d.ts, from the document that the server publishes.
import {Ajv2020} from 'ajv/dist/2020.js';
import createClient, {type Middleware} from 'openapi-fetch';
import type {components, paths} from './openapi.js';

declare const process: {env: Record<string, string>};
const {TENANTRY_URL, API_KEY, API_SECRET, USER_TOKEN, MERCHANT, PLAN, REFUSED_PLAN} = process.env as Record<string, string> & {
	TENANTRY_URL: string; API_KEY: string; API_SECRET: string; USER_TOKEN: string; MERCHANT: string; PLAN: string; REFUSED_PLAN: string;
};

type Problem = components['schemas']['Problem'];
type Run = components['schemas']['Run'];
type DryRun = components['schemas']['DryRun'];

function check(ok: boolean, what: string, got: unknown): asserts ok {
	if (!ok) throw new Error(`${what}: got ${JSON.stringify(got)}`);
}

// closed returns a copy of a schema. The copy does not allow objects to have properties that the schema does not list. Therefore a
// field that the types do not have is a fault.
function closed(schema: any): any {
	if (Array.isArray(schema)) return schema.map(closed);
	if (typeof schema !== 'object' || schema === null) return schema;
	const copy = Object.fromEntries(Object.entries(schema).map(([name, value]) => [name, closed(value)]));
	return copy['properties'] && copy['additionalProperties'] === undefined ? {...copy, additionalProperties: false} : copy;
}

const document: any = await (await fetch(`${TENANTRY_URL}/openapi.json`)).json();
const ajv = new Ajv2020({strict: false, allErrors: true, validateFormats: false});
ajv.addSchema({$id: 'openapi', components: closed(document.components)});

// resolved returns the node to which a reference in the document points. It returns any other node unchanged.
function resolved(node: any): any {
	return node?.$ref ? node.$ref.slice(2).split('/').reduce((at: any, name: string) => at[name], document) : node;
}

const seen: string[] = [];
const answersFitTheTypes: Middleware = {
	async onResponse({request, response, schemaPath}) {
		const operation = document.paths[schemaPath][request.method.toLowerCase()];
		const kind = response.headers.get('Content-Type')!.split(';')[0]!;
		const schema = resolved(operation.responses[response.status])?.content?.[kind]?.schema;
		const call = `${operation.operationId} ${response.status}`;
		check(schema !== undefined, `${call}: the document has no such answer`, kind);
		const body = await response.clone().json();
		const valid = ajv.validate({$ref: schema.$ref.replace('#', 'openapi#')}, body);
		check(valid, `${call}: the answer does not fit its type: ${ajv.errorsText()}`, body);
		seen.push(call);
	},
};

const client = createClient<paths>({baseUrl: TENANTRY_URL, headers: {Authorization: `Basic ${btoa(`${API_KEY}:${API_SECRET}`)}`}});
client.use(answersFitTheTypes);

function order(key: string, plan_id: string) {
	return client.POST('/v1/merchants/{merchant_id}/subscriptions', {
		params: {
			path: {merchant_id: MERCHANT},
			header: {'Idempotency-Key': key, 'X-Subject-Token': USER_TOKEN, Prefer: 'wait=30'},
		},
		body: {plan_id, customer: {name: 'Ada', currency: 'nok', language: 'nor'}},
	});
}

// asRun returns the run in an answer to an order. The answer to a dry run has no id.
function asRun(answer: Run | DryRun | undefined): Run | undefined {
	return answer && 'id' in answer ? answer : undefined;
}

const first = await order('order-1', PLAN);
const placed = asRun(first.data);
check(first.response.status === 201 && placed?.state === 'succeeded', 'the order', first.data ?? first.error);
check(typeof placed.result['subscription_id'] === 'string', 'the result', placed.result);

const replay = await order('order-1', PLAN);
check(asRun(replay.data)?.id === placed.id && replay.response.headers.get('Idempotency-Replayed') === 'true', 'the repeated order', replay.data);

const related = first.response.headers.get('Link')?.match(/^<(.*)>; rel="related"$/)?.[1];
const subscription = await client.GET('/v1/merchants/{merchant_id}/subscriptions/{subscription_id}', {
	params: {path: {merchant_id: MERCHANT, subscription_id: String(related?.split('/').pop())}},
});
check(subscription.data?.plan_id === PLAN, 'the subscription', subscription.data ?? subscription.error);

const read = await client.GET('/v1/runs/{run_id}', {params: {path: {run_id: placed.id}, query: {wait: 1}}});
check(read.data?.id === placed.id, 'the run', read.data ?? read.error);

const refused = await order('order-2', REFUSED_PLAN);
const problem: Problem | undefined = refused.error;
check(refused.response.status === 409 && problem?.type === '/problems/run-compensated', 'the order that fails', problem);
check(problem.fix_by !== undefined && problem.retryable === false && problem.errors[0]?.code === problem.code, 'the problem', problem);

const invalid = await order('order-3', 'not a plan');
check(invalid.error?.type === '/problems/invalid-params' && invalid.error.invalid_params?.[0]?.pointer === '/plan_id', 'the invalid order',
	invalid.error);

const list = await client.GET('/v1/runs', {params: {query: {state: ['succeeded', 'compensated'], limit: 10}}});
check(list.data?.runs.length === 2 && list.data.runs.some((run) => run.cause?.code === 'billingstack-refused'), 'the runs', list.data);

const events = await client.GET('/v1/runs/{run_id}/events', {params: {path: {run_id: placed.id}}});
const listed = typeof events.data === 'object' ? events.data.events : []; // a stream of events would be a string
check(listed.at(-1)?.kind === 'run-succeeded', 'the events', events.data ?? events.error);

console.log(seen.join('\n'));
