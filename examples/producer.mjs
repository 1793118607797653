// An HTTP endpoint that puts uploads into the queue: `node producer.mjs`, beside an ovaferry.yaml.
// Workers elsewhere do them. It is yours to say who may call it, and for which sources.
import { createServer } from 'node:http';
import { createFerry, FerryError } from 'ovaferry';

const ferry = await createFerry();
const STATUS = { SOURCE_NOT_FOUND: 400, TARGET_UNKNOWN: 400, USAGE: 400, JOB_NOT_FOUND: 404 };

async function answer({ method, url, body }) {
  if (method === 'POST' && url === '/uploads') {
    const { source, to, name } = JSON.parse(body);
    const [job] = await ferry.enqueue([{ source, to, name, batch: 'web' }]);
    return [job.existing ? 200 : 202, job];
  }
  const [, id] = /^\/uploads\/([\w.-]+)$/.exec(url) ?? [];
  return method === 'GET' && id ? [200, await ferry.get(id)] : [404, { error: 'not found' }];
}

const server = createServer(async (request, response) => {
  let [status, said] = [500, {}];
  try {
    const body = Buffer.concat(await request.toArray()).toString();
    const { method, url } = request;
    [status, said] = await answer({ method, url, body });
  } catch (error) {
    const isKnown = error instanceof FerryError;
    status = isKnown ? (STATUS[error.code] ?? 503) : 400;
    said = { error: error.message, ...(isKnown ? { code: error.code, hint: error.hint } : {}) };
  }
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(said));
});
server.listen(Number(process.env.PORT ?? 8080), '127.0.0.1', () =>
  console.log(`listening on port ${server.address().port}`),
);
process.once('SIGTERM', () => server.close(() => ferry.close()));
