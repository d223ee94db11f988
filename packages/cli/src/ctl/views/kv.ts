import {
  CompactionResponse,
  DeleteRangeResponse,
  type Event,
  EventType,
  type KeyValue,
  PutResponse,
  RangeResponse,
  ResponseHeader,
  type ResponseOp,
  TxnResponse,
  WatchResponse,
} from '@etsd/proto';
import { hexBytes } from '../go.ts';
import { jsonArray, jsonMessage, jsonObject, members } from '../go-json.ts';
import type { Style, View } from '../view.ts';
import { field, header, record } from './fields.ts';

function shown(bytes: Buffer, hex: boolean): string {
  // Latin-1 keeps every byte as it is; the output is written in the same encoding.
  return hex ? hexBytes(bytes) : bytes.toString('latin1');
}

/** A key and its value, a line each. */
function pair(kv: KeyValue, style: Style, valueOnly = false): string {
  const key = valueOnly ? '' : `${shown(kv.key, style.hex)}\n`;
  return `${key}${shown(kv.value, style.hex)}\n`;
}

export function putView(response: PutResponse, style: Style): View {
  return {
    simpleIsBytes: true,
    simple: () => `OK\n${response.prevKv === null ? '' : pair(response.prevKv, style)}`,
    json: () => jsonMessage(PutResponse, response),
    fields: () => header(response.header) + (response.prevKv === null ? '' : record('Prev', response.prevKv)),
    protobuf: () => PutResponse.encode(response),
  };
}

export function getView(response: RangeResponse, style: Style, valueOnly = false): View {
  return {
    simpleIsBytes: true,
    simple: () => response.kvs.map((kv) => pair(kv, style, valueOnly)).join(''),
    json: () => jsonMessage(RangeResponse, response),
    fields: () =>
      header(response.header) +
      response.kvs.map((kv) => record('', kv)).join('') +
      field('More', response.more) +
      field('Count', response.count),
    protobuf: () => RangeResponse.encode(response),
  };
}

export function deleteView(response: DeleteRangeResponse, style: Style): View {
  return {
    simpleIsBytes: true,
    simple: () => `${response.deleted}\n${response.prevKvs.map((kv) => pair(kv, style)).join('')}`,
    json: () => jsonMessage(DeleteRangeResponse, response),
    fields: () =>
      header(response.header) +
      field('Deleted', response.deleted) +
      response.prevKvs.map((kv) => record('Prev', kv)).join(''),
    protobuf: () => DeleteRangeResponse.encode(response),
  };
}

export function txnView(response: TxnResponse, style: Style): View {
  const views = response.responses.map((each) => operationView(each, style));
  return {
    simpleIsBytes: true,
    simple: () => (response.succeeded ? 'SUCCESS\n' : 'FAILURE\n') + views.map((view) => `\n${view.simple()}`).join(''),
    json: () => jsonMessage(TxnResponse, response),
    fields: () =>
      header(response.header) +
      field('Succeeded', response.succeeded) +
      views.map((view) => view.fields?.() ?? '').join(''),
    protobuf: () => TxnResponse.encode(response),
  };
}

function operationView(response: ResponseOp, style: Style): View {
  const { responseDeleteRange, responsePut, responseRange, responseTxn } = response;
  if (responsePut !== null) return putView(responsePut, style);
  if (responseDeleteRange !== null) return deleteView(responseDeleteRange, style);
  if (responseTxn !== null) return txnView(responseTxn, style);
  return getView(responseRange ?? RangeResponse.create(), style);
}

export function compactionView(response: CompactionResponse, revision: number): View {
  return {
    simple: () => `compacted revision ${revision}\n`,
    json: () => jsonMessage(CompactionResponse, response),
    fields: () => header(response.header),
    protobuf: () => CompactionResponse.encode(response),
  };
}

const EVENT_NAMES: Record<number, string> = { [EventType.PUT]: 'PUT', [EventType.DELETE]: 'DELETE' };

export function watchView(response: WatchResponse, style: Style): View {
  return {
    simpleIsBytes: true,
    simple: () => response.events.map((event) => simpleEvent(event, style)).join(''),
    json: () => watchJson(response),
    fields: () => header(response.header) + response.events.map(eventFields).join(''),
    protobuf: () =>
      WatchResponse.encode(
        WatchResponse.create({
          header: response.header ?? ResponseHeader.create(),
          events: response.events,
          compactRevision: response.compactRevision,
          canceled: response.canceled,
          created: response.created,
        }),
      ),
  };
}

function simpleEvent(event: Event, style: Style): string {
  const before = event.prevKv === null ? '' : pair(event.prevKv, style);
  return `${EVENT_NAMES[event.type]}\n${before}${event.kv === null ? '' : pair(event.kv, style)}`;
}

function eventFields(event: Event): string {
  return (
    field('Type', EVENT_NAMES[event.type] as string) +
    (event.prevKv === null ? '' : record('Prev', event.prevKv)) +
    (event.kv === null ? '' : record('', event.kv))
  );
}

/** The struct of etcd's Go client, not the message. */
function watchJson(response: WatchResponse): string {
  return jsonObject({
    Header: jsonMessage(ResponseHeader, response.header ?? ResponseHeader.create()),
    Events:
      response.header === null
        ? 'null'
        : jsonArray(response.events.map((event) => jsonObject(members('mvccpb.Event', event)))),
    CompactRevision: String(response.compactRevision),
    Canceled: String(response.canceled),
    Created: String(response.created),
  });
}
