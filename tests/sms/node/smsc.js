// An SMSC of npm's `smpp`, which is not ours: what it reads and writes on the wire is its own. Driven by JSON lines:
// commands on stdin, events on stdout (tests/sms/node/peer.py has both). It ends with its stdin. The module is found
// through NODE_PATH, in the cache that tools/test-programs.sh fills.
//
//   node smsc.js '{"port": 0, "password": "…", "receipts": "text" | "tlv" | "none", "answers": true}'
'use strict';

const readline = require('readline');
const smpp = require('smpp');

const options = { port: 0, password: null, receipts: 'text', answers: true, ...JSON.parse(process.argv[2] || '{}') };
const BINDS = ['bind_transceiver', 'bind_transmitter', 'bind_receiver'];
const sessions = new Map(); // number → session
const waiting = new Map(); // parts of long messages, by what they have in common
let sessionNumber = 0;
let messageId = Date.now() % 1e9;

function tell(event, fields = {}) {
  process.stdout.write(`${JSON.stringify({ event, ...fields })}\n`);
}

// ── what the client submits ───────────────────────────────────────────────────────────────────────────────────────

// The text and place of a segment as the library reads them: a user data header, SAR, message_payload or none.
function segment(pdu) {
  const payload = pdu.message_payload !== undefined;
  const content = payload ? pdu.message_payload : pdu.short_message;
  const text = Buffer.isBuffer(content.message) ? content.message.toString('hex') : content.message;
  const udh = (content.udh || []).map((element) => element.toString('hex'));
  let part = null;
  for (const element of content.udh || []) {
    if (element[0] === 0x00) part = { kind: 'udh8', reference: element[2], total: element[3], number: element[4] };
    if (element[0] === 0x08) {
      part = { kind: 'udh16', reference: element.readUInt16BE(2), total: element[4], number: element[5] };
    }
  }
  if (pdu.sar_total_segments !== undefined) {
    part = {
      kind: 'sar',
      reference: pdu.sar_msg_ref_num,
      total: pdu.sar_total_segments,
      number: pdu.sar_segment_seqnum,
    };
  }
  return { text, udh, part, payload };
}

function joined(pdu, { text, part }) {
  if (part === null) return { text, segments: 1 };
  const name = [pdu.source_addr, pdu.destination_addr, part.kind, part.reference, part.total].join(' ');
  const parts = waiting.get(name) || new Map();
  waiting.set(name, parts.set(part.number, text));
  if (parts.size < part.total) return null;
  waiting.delete(name);
  const numbers = [...parts.keys()].sort((a, b) => a - b);
  return { text: numbers.map((number) => parts.get(number)).join(''), segments: part.total };
}

// Told before it is answered (writes to a pipe are synchronous): what a client was answered is on record, kill or not.
function submitted(session, pdu) {
  messageId += 1;
  const id = String(messageId);
  const there = segment(pdu);
  tell('submit', {
    session: session.number,
    id,
    source: pdu.source_addr,
    destination: pdu.destination_addr,
    esm_class: pdu.esm_class,
    data_coding: pdu.data_coding,
    registered_delivery: pdu.registered_delivery,
    ...there,
  });
  const whole = joined(pdu, there);
  if (whole !== null) {
    tell('message', { source: pdu.source_addr, destination: pdu.destination_addr, ...whole });
  }
  if (!options.answers) return;
  session.send(pdu.response({ message_id: id }));
  if (options.receipts !== 'none' && pdu.registered_delivery & 1) {
    receipt({ id, from: pdu.destination_addr, to: pdu.source_addr });
  }
}

// ── what the client gets ──────────────────────────────────────────────────────────────────────────────────────────

function receiver() {
  return [...sessions.values()].find((session) => session.kind && session.kind !== 'bind_transmitter');
}

function deliver(fields, label) {
  const session = receiver();
  if (session === undefined) {
    tell('error', { message: `nobody is bound to receive: ${label}` });
    return;
  }
  session.deliver_sm(fields, (answer) => tell('answered', { label, status: answer.command_status }));
}

function two(number) {
  return String(number).padStart(2, '0');
}

function receipt({ id, from, to, stat = 'DELIVRD', err = '000', form = options.receipts }) {
  const now = new Date();
  const date = [now.getFullYear() % 100, now.getMonth() + 1, now.getDate(), now.getHours(), now.getMinutes()];
  const text =
    `id:${id} sub:001 dlvrd:001 submit date:${date.map(two).join('')} done date:${date.map(two).join('')} ` +
    `stat:${stat} err:${err} text:`;
  const fields = { source_addr: from, destination_addr: to, esm_class: smpp.ESM_CLASS.MC_DELIVERY_RECEIPT };
  if (form === 'tlv') {
    fields.short_message = '';
    fields.receipted_message_id = id;
    fields.message_state = stat === 'DELIVRD' ? smpp.MESSAGE_STATE.DELIVERED : smpp.MESSAGE_STATE.UNDELIVERABLE;
  } else {
    fields.short_message = text;
  }
  deliver(fields, `receipt ${id}`);
}

// A reply as a phone sends it; above 70 signs in segments with a user data header, in the order asked for.
function reply({ from, to, text, order = null, reference = 1, label = 'reply' }) {
  if (text.length <= 70) {
    deliver({ source_addr: from, destination_addr: to, short_message: text }, label);
    return;
  }
  const total = Math.ceil(text.length / 67);
  const places = order || Array.from({ length: total }, (_, index) => index + 1);
  for (const place of places) {
    deliver(
      {
        source_addr: from,
        destination_addr: to,
        esm_class: smpp.ESM_CLASS.UDH_INDICATOR,
        data_coding: smpp.ENCODING.UCS2,
        short_message: {
          udh: Buffer.from([5, 0, 3, reference & 0xff, total, place]),
          message: text.slice((place - 1) * 67, place * 67),
        },
      },
      `${label} ${place}/${total}`,
    );
  }
}

const COMMANDS = {
  reply,
  receipt,
  set: (fields) => {
    Object.assign(options, fields);
    tell('set', fields);
  },
  enquire: () => {
    for (const session of sessions.values()) {
      session.enquire_link((answer) => tell('enquired', { status: answer.command_status }));
    }
  },
  unbind: () => {
    for (const session of sessions.values()) {
      session.unbind((answer) => {
        tell('unbound', { session: session.number, status: answer.command_status });
        session.close();
      });
    }
  },
  cut: () => {
    for (const session of sessions.values()) session.destroy();
  },
};

// ── sessions ──────────────────────────────────────────────────────────────────────────────────────────────────────

const server = smpp.createServer((session) => {
  sessionNumber += 1;
  session.number = sessionNumber;
  session.kind = null;
  sessions.set(session.number, session);
  for (const kind of BINDS) {
    session.on(kind, (pdu) => {
      if (options.password !== null && pdu.password !== options.password) {
        session.send(pdu.response({ command_status: smpp.ESME_RINVPASWD }));
        tell('refused', { session: session.number, kind });
        return;
      }
      session.send(pdu.response({ system_id: 'node' }));
      session.kind = kind;
      tell('bound', {
        session: session.number,
        kind,
        system_id: pdu.system_id,
        interface_version: pdu.interface_version,
      });
    });
  }
  session.on('submit_sm', (pdu) => submitted(session, pdu));
  session.on('enquire_link', (pdu) => session.send(pdu.response()));
  session.on('unbind', (pdu) => {
    session.send(pdu.response());
    tell('unbinding', { session: session.number });
    session.close();
  });
  session.on('unknown', (pdu) => session.send(pdu.response()));
  session.on('error', (error) => tell('error', { session: session.number, message: String(error.message) }));
  session.on('close', () => {
    sessions.delete(session.number);
    tell('closed', { session: session.number });
  });
});

server.on('error', (error) => {
  tell('error', { message: String(error.message) });
  process.exit(1);
});
server.listen(options.port, '127.0.0.1', () => tell('ready', { port: server.address().port }));

readline
  .createInterface({ input: process.stdin })
  .on('line', (line) => {
    const { do: name, ...fields } = JSON.parse(line);
    COMMANDS[name](fields);
  })
  .on('close', () => process.exit(0));
