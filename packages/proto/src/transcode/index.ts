export { JSON_VALUES_MAX, JsonScanner, ScanStep } from './json-scanner.ts';
export { jsonToWire } from './json-to-wire.ts';
export { JsonError } from './json-tokens.ts';
export { type MessagePlan, planOf } from './plan.ts';
export { COMPACT, Cursor, JsonFields, type JsonStyle, jsonString, SPACED, wireToJson } from './wire-to-json.ts';
