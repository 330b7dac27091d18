// ding-dong on Node: the fixed dialogue (benchmarks/scripts.py, FIXED). Its module is found through NODE_PATH, which
// benchmarks/contenders.py points at the cache that tools/bench-programs.sh fills.
'use strict';

const AGIServer = require('ding-dong');

async function rating(context) {
  await context.onEvent('variables');
  await context.answer();
  await context.streamFile('rating-welcome');
  const digit = (await context.getData('rating-ask', 8000, 1)).result;
  await context.setVariable('RATING', digit);
  await context.setVariable('RATING_STATUS', digit ? 'ok' : 'none');
  await context.streamFile('rating-thanks');
  await context.hangup();
  await context.end();
}

const server = new AGIServer((context) => {
  context.on('error', (error) => console.error(error));
  rating(context).catch((error) => console.error(error));
}).start(Number(process.argv[2] || 0), '127.0.0.1');
server.on('listening', () => console.log(`ready ${server.address().port}`));
process.on('SIGTERM', () => process.exit(0));
