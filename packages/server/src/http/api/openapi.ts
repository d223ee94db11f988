/** The API as an OpenAPI 3.1 document (https://spec.openapis.org/oas/v3.1.0). */

type Json = Readonly<Record<string, unknown>>;

const text = { type: 'string' };
const integer = { type: 'integer', minimum: 0 };
const flag = { type: 'boolean', default: false };

function parameter(name: string, description: string, schema: Json = text, place = 'query'): Json {
  return { name, in: place, description, schema, required: place === 'path' };
}

function refer(name: string): Json {
  return { $ref: `#/components/schemas/${name}` };
}

function answers(...list: readonly (readonly [status: number, description: string, schema?: string])[]): Json {
  const responses: Record<string, unknown> = {};
  for (const [status, description, schema] of list) {
    const content = schema === undefined ? {} : { content: { 'application/json': { schema: refer(schema) } } };
    responses[String(status)] = { description, ...content };
  }
  const problem = { 'application/problem+json': { schema: refer('Problem') } };
  responses['default'] = { description: 'What went wrong', content: problem };
  return responses;
}

function body(schema: string): Json {
  return { required: true, content: { 'application/json': { schema: refer(schema) } } };
}

const SPAN = [
  parameter('prefix', 'Keys that begin with this'),
  parameter('from', 'First key'),
  parameter('to', 'The key before which it ends'),
];
const ENCODING = parameter('encoding', 'base64: all keys and values as base64', {
  enum: ['text', 'base64'],
  default: 'text',
});
const KEY = parameter('key', 'The key, percent-encoded; slashes may stay, any bytes may be there', text, 'path');
const LEASE = parameter('id', 'Lease id, decimal', text, 'path');
const IF_MATCH = parameter('If-Match', 'Only if this is the key’s tag; `*`: only if it is there', text, 'header');
const IF_ABSENT = parameter('If-None-Match', '`*`: only if the key is not there', text, 'header');

const KEY_PATHS: Json = {
  '/api/keys/{key}': {
    get: {
      summary: 'The value, as it was written; all about the key where `Accept` names application/json',
      parameters: [
        KEY,
        parameter('revision', 'As it was then', integer),
        parameter('serializable', 'From what this member knows, without asking the others', flag),
        parameter('wait', 'With If-None-Match: wait so many seconds for a change', integer),
        ENCODING,
        parameter('If-None-Match', 'The tag the client has', text, 'header'),
      ],
      responses: answers(
        [200, 'The value; its tag is the revision of its last change', 'Key'],
        [304, 'As the client has it'],
        [404, 'Not there'],
      ),
    },
    put: {
      summary: 'Sets the value to the body',
      parameters: [
        KEY,
        parameter('lease', 'The key goes when this lease does'),
        parameter('keep_lease', 'Leave it at the lease it has', flag),
        IF_MATCH,
        IF_ABSENT,
      ],
      requestBody: { content: { '*/*': {} } },
      responses: answers([200, 'Changed', 'Written'], [201, 'Made', 'Written'], [412, 'The condition does not hold']),
    },
    delete: {
      summary: 'Removes the key',
      parameters: [KEY, IF_MATCH],
      responses: answers([200, 'Removed', 'Removed'], [404, 'Not there'], [412, 'The condition does not hold']),
    },
  },
  '/api/keys': {
    get: {
      summary: 'Keys in order, page by page; all pages are of one revision',
      parameters: [
        ...SPAN,
        parameter('limit', 'Keys of a page', { type: 'integer', minimum: 1, maximum: 1000, default: 100 }),
        parameter('page', '`next` of the page before'),
        parameter('revision', 'As it was then', integer),
        parameter('reverse', 'The last first', flag),
        parameter('keys_only', 'Without values', flag),
        parameter('count_only', 'Only how many', flag),
        parameter('serializable', 'From what this member knows', flag),
        ENCODING,
      ],
      responses: answers([200, 'A page', 'Page'], [410, 'The revision is forgotten']),
    },
    delete: { summary: 'Removes them all', parameters: SPAN, responses: answers([200, 'Removed', 'Removed']) },
  },
};

const OTHER_PATHS: Json = {
  '/api/watch': {
    get: {
      summary: 'Changes: as server-sent events where `Accept` names text/event-stream, else the next ones',
      parameters: [
        parameter('key', 'One key'),
        ...SPAN,
        parameter('after', 'Changes behind this revision; without it, those from now on', integer),
        parameter('wait', 'Seconds to wait for a change', { type: 'integer', minimum: 0, maximum: 300, default: 30 }),
        parameter('previous', 'With what was there before', flag),
        ENCODING,
        parameter('Last-Event-ID', 'As `after`; browsers send it by themselves', text, 'header'),
      ],
      responses: answers([200, 'Changes; `revision` is the next `after`', 'Changes'], [410, 'They are forgotten']),
    },
  },
  '/api/txn': {
    post: {
      summary: 'All operations of `then` at once if all conditions hold, else those of `else`',
      parameters: [ENCODING],
      requestBody: body('Transaction'),
      responses: answers([200, 'What came of it', 'Outcome']),
    },
  },
  '/api/leases': {
    get: { summary: 'All leases', responses: answers([200, 'Leases']) },
    post: { summary: 'A new lease', requestBody: body('NewLease'), responses: answers([201, 'Granted', 'Lease']) },
  },
  '/api/leases/{id}': {
    get: {
      summary: 'What is left, and its keys',
      parameters: [LEASE],
      responses: answers([200, 'It', 'Lease'], [404, 'Not there']),
    },
    delete: {
      summary: 'Ends it, with its keys',
      parameters: [LEASE],
      responses: answers([200, 'Ended'], [404, 'Not there']),
    },
  },
  '/api/leases/{id}/keepalive': {
    post: {
      summary: 'Its time begins anew',
      parameters: [LEASE],
      responses: answers([200, 'It', 'Lease'], [404, 'Not there']),
    },
  },
  '/api/login': {
    post: {
      summary: 'A token for a name and a password',
      requestBody: body('Login'),
      responses: answers([200, 'The token', 'Token']),
    },
  },
  '/api/usage': {
    get: {
      summary: 'Keys and bytes by prefix, and the busiest keys, users and addresses of the last minutes; root only',
      parameters: [parameter('limit', 'Of each list', { type: 'integer', minimum: 1, maximum: 1000, default: 20 })],
      responses: answers([200, 'Usage', 'Usage']),
    },
  },
  '/api/log-level': {
    get: { summary: 'Which lines this member logs; root only', responses: answers([200, 'The level', 'LogLevel']) },
    put: {
      summary: 'Changes that until the next start',
      requestBody: body('LogLevel'),
      responses: answers([200, 'The level', 'LogLevel']),
    },
  },
  '/api/status': { get: { summary: 'This member, and its cluster', responses: answers([200, 'Status']) } },
};

function object(properties: Json, ...required: string[]): Json {
  return { type: 'object', properties, ...(required.length > 0 ? { required } : {}) };
}

const OPERATION: Json = {
  description: 'One of put, get, delete (each also as …_base64), or a transaction',
  type: 'object',
};

const SCHEMAS: Json = {
  Problem: object({ status: integer, code: text, detail: text }, 'status', 'code', 'detail'),
  Key: object({
    key: text,
    key_base64: text,
    value: text,
    value_base64: text,
    create_revision: integer,
    mod_revision: integer,
    version: integer,
    lease: text,
  }),
  Written: object({ revision: integer, created: { type: 'boolean' } }),
  Removed: object({ revision: integer, deleted: integer }),
  Page: object({ revision: integer, count: integer, kvs: { type: 'array', items: refer('Key') }, next: text }),
  Changes: object({ revision: integer, events: { type: 'array', items: { type: 'object' } } }),
  Condition: object({
    key: text,
    key_base64: text,
    prefix: flag,
    op: { enum: ['=', '!=', '<', '>'], default: '=' },
    exists: { type: 'boolean' },
    value: text,
    value_base64: text,
    version: integer,
    create_revision: integer,
    mod_revision: integer,
    lease: text,
  }),
  Transaction: object(
    Object.fromEntries([
      ['if', { type: 'array', items: refer('Condition') }],
      ['then', { type: 'array', items: OPERATION }],
      ['else', { type: 'array', items: OPERATION }],
    ]),
  ),
  Outcome: object({ revision: integer, succeeded: { type: 'boolean' }, results: { type: 'array' } }),
  NewLease: object({ ttl: { type: 'integer', minimum: 1 }, id: text }, 'ttl'),
  Lease: object({ id: text, ttl: integer, granted_ttl: integer, keys: { type: 'array', items: text } }),
  Login: object({ name: text, password: text }, 'name', 'password'),
  LogLevel: object({ level: { enum: ['debug', 'info', 'warn', 'error', 'panic', 'fatal'] } }, 'level'),
  Usage: object({
    member: text,
    name: text,
    leader: { type: 'boolean' },
    revision: integer,
    used_bytes: integer,
    quota_bytes: integer,
    keys: integer,
    bytes: integer,
    counting: { type: 'boolean' },
    prefixes: { type: 'array', items: object({ prefix: text, keys: integer, bytes: integer }) },
    busy: object({
      seconds: { type: 'number' },
      requests: integer,
      keys: { type: 'array', items: refer('Busy') },
      users: { type: 'array', items: refer('Busy') },
      peers: { type: 'array', items: refer('Busy') },
    }),
  }),
  Busy: object({ name: text, reads: integer, writes: integer, bytes: integer }),
  Token: object({ token: text }, 'token'),
};

const DOCUMENT: Json = {
  openapi: '3.1.0',
  info: {
    title: 'etsd',
    version: '1',
    description:
      'Keys, changes, transactions and leases. Ids are text, since most are beyond 2^53; revisions are numbers.',
  },
  security: [{}, { bearer: [] }, { basic: [] }],
  paths: { ...KEY_PATHS, ...OTHER_PATHS },
  components: {
    schemas: SCHEMAS,
    securitySchemes: { bearer: { type: 'http', scheme: 'bearer' }, basic: { type: 'http', scheme: 'basic' } },
  },
};

export function openApiDocument(): Json {
  return DOCUMENT;
}
