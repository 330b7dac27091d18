// node's smpp as its documentation runs it: a callback a submit_sm, an event a deliver_sm. See benchmarks/clients.
'use strict';

const readline = require('readline');
const smpp = require('smpp');

const [port, warm, count, service, text, window] = process.argv.slice(2);
const stages = [['warm', Number(warm)], ['done', Number(warm) + Number(count)]];
const lines = readline.createInterface({ input: process.stdin });
let sent = 0;
let inFlight = 0;
let receipts = 0;

const session = smpp.connect({ url: `smpp://127.0.0.1:${port}` }, () => {
  session.bind_transceiver({ system_id: 'huiyin', password: 'secret' }, (pdu) => {
    if (pdu.command_status !== 0) throw new Error('bind refused');
    more();
  });
});

function more() {
  while (inFlight < Number(window) && sent < stages[0][1]) {
    sent += 1;
    inFlight += 1;
    session.submit_sm({
      source_addr_npi: 1,
      source_addr: service,
      dest_addr_ton: 1,
      dest_addr_npi: 1,
      destination_addr: `86138${String(sent).padStart(8, '0')}`,
      data_coding: 8,
      registered_delivery: 1,
      short_message: text,
    }, (pdu) => {
      if (pdu.command_status !== 0) throw new Error('submit refused');
      inFlight -= 1;
      if (stages.length) more();
    });
  }
}

session.on('deliver_sm', (pdu) => {
  session.send(pdu.response());
  receipts += 1;
  if (receipts === stages[0][1]) console.log(stages[0][0]);
});

lines.on('line', () => {
  stages.shift();
  if (stages.length) more();
  else session.unbind(() => session.close());
});

session.on('close', () => process.exit(0));
