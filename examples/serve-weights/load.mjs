import autocannon from 'autocannon';

/**
 * Posts images (784 bytes each), one after the other on each connection, and calls `onAnswer` with each answer and the
 * number of its image. stop() ends that, and resolves with what became of the requests; aborting `signal` ends it too.
 */
export function startLoad({ port, connections, images, onAnswer, signal }) {
  let next = 0;
  const load = autocannon({
    url: `http://127.0.0.1:${port}`,
    connections,
    duration: 3600, // seconds; whoever starts it stops it
    sampleInt: 100, // milliseconds, after which it sees that it was stopped
    requests: [
      {
        method: 'POST',
        setupRequest(request, context) {
          context.image = next++ % images.length;
          return { ...request, body: images[context.image] };
        },
        onResponse(status, body, context) {
          if (status === 200) onAnswer(JSON.parse(body), context.image);
        },
      },
    ],
  });
  signal.addEventListener('abort', () => load.stop());
  return {
    async stop() {
      load.stop();
      const { requests, latency, duration, errors, timeouts, non2xx, '2xx': answers } = await load;
      // Where a connection was closed it is opened anew, and the request is not counted as an error.
      const lost = requests.sent - answers - non2xx - connections;
      return {
        answers,
        seconds: duration,
        latency,
        failed: { errors: errors - timeouts, timeouts, refused: non2xx, lost },
      };
    },
  };
}
