import { ReadableStream } from 'node:stream/web';
import { anonymous } from '../array/create';
import { type DType, specOf } from '../array/dtype';
import { checkedByteLength, checkShape } from '../array/shape';
import type { SharedArray } from '../array/shared-array';
import { corrupt } from '../codec/object-format';
import { stateError } from '../errors';

/** How much of an array is on its way at a time is for the reader's flow control to say. */
const chunkBytes = 2 ** 18;

/** The elements in C order, read chunk by chunk as they are then: who must not see a write in between takes a snapshot. */
export function streamOf(array: SharedArray): ReadableStream<Uint8Array> {
  const data = (array.isCContiguous ? array.data : array.toTypedArray()) as ArrayBufferView;
  const { nbytes } = array;
  let sent = 0;
  return new ReadableStream<Uint8Array>(
    {
      pull(controller) {
        if (data.byteLength < nbytes) throw stateError('ERR_NDSHM_CLOSED', 'The array was closed while it was sent');
        const end = Math.min(sent + chunkBytes, nbytes);
        controller.enqueue(new Uint8Array(data.buffer as ArrayBuffer, data.byteOffset + sent, end - sent).slice());
        sent = end;
        if (sent === nbytes) controller.close();
      },
    },
    { highWaterMark: 0 },
  );
}

/** Receives what streamOf() gives, into an anonymous array, which is complete when `done` is. */
export function copyInto(
  dtype: unknown,
  shape: unknown,
  stream: unknown,
  maxBytes: number,
): { array: SharedArray; done: Promise<void> } {
  const lengths = checkShape(shape as number[]);
  const nbytes = checkedByteLength(lengths, specOf(dtype as DType).itemBytes);
  if (!(stream instanceof ReadableStream) || stream.locked)
    throw corrupt('it has an array without a stream of its own');
  if (nbytes > maxBytes) {
    stream.cancel().catch(() => {}); // it may have failed by itself
    throw stateError('ERR_NDSHM_LIMIT', `An array of ${nbytes} bytes was sent; at most ${maxBytes} are taken now`);
  }
  const array = anonymous({ shape: lengths, dtype: dtype as DType });
  const done = receive(array, stream as ReadableStream<unknown>);
  return {
    array,
    done: done.catch((error: unknown) => {
      array.close();
      throw error;
    }),
  };
}

async function receive(array: SharedArray, stream: ReadableStream<unknown>): Promise<void> {
  const data = array.data as ArrayBufferView;
  const bytes = new Uint8Array(data.buffer as ArrayBuffer, data.byteOffset, data.byteLength);
  let at = 0;
  for await (const chunk of stream) {
    if (!(chunk instanceof Uint8Array) || chunk.length > bytes.length - at) throw corrupt('its array is too long');
    bytes.set(chunk, at);
    at += chunk.length;
  }
  if (at < bytes.length) throw corrupt('its array is too short');
}
