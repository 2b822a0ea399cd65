// Calls Health/Check with each token, and prints what grpc-js makes of the answer: a line of JSON each.
const grpc = require('@grpc/grpc-js');

const [address, ...tokens] = process.argv.slice(2);
const client = new grpc.Client(address, grpc.credentials.createInsecure());
const asIs = (data) => data;

function check(token) {
  const metadata = new grpc.Metadata();
  if (token) metadata.set('authorization', `Bearer ${token}`);
  const options = { deadline: Date.now() + 20_000 };
  return new Promise((resolve) => {
    let told = new grpc.Metadata();
    const call = client.makeUnaryRequest(
      '/grpc.health.v1.Health/Check', asIs, asIs, Buffer.alloc(0), metadata, options,
      (error) => {
        if (error) told.merge(error.metadata);
        resolve({
          code: error ? error.code : 0,
          message: error ? error.details : '',
          successor: told.get('refreshed-api-token')[0] ?? null,
          replay: told.get('reissue-replay')[0] ?? null,
        });
      });
    call.on('metadata', (initial) => { told = initial; });
  });
}

(async () => {
  for (const token of tokens) console.log(JSON.stringify(await check(token)));
  client.close();
})();
