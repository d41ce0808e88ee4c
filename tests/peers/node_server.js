// A small SMSC on npm's smpp. node node_server.js PASSWORD
// One JSON object a line: events on standard output, commands ({"do": "enquire_link" | "unbind"}) on standard input.
// It takes every submit_sm and sends its receipt, as text and as TLVs.
'use strict';
const readline = require('readline');
const smpp = require('smpp');

const password = process.argv[2];
const sessions = new Set();
let lastId = 0n;

function tell(event, fields) {
	process.stdout.write(JSON.stringify({event, ...fields}) + '\n');
}

function bind(session, kind, pdu) {
	if (pdu.password !== password) {
		tell('refused', {bind: kind, system_id: pdu.system_id});
		session.send(pdu.response({command_status: smpp.ESME_RBINDFAIL}));
		return;
	}
	session.kind = kind;
	session.send(pdu.response({system_id: 'node-smpp', sc_interface_version: 0x34}));
	tell('bound', {bind: kind, system_id: pdu.system_id});
}

function submit(session, pdu) {
	lastId += 1n;
	const id = String(9223372036854775807n + lastId);
	const header = pdu.short_message.udh ? Buffer.concat(pdu.short_message.udh) : Buffer.alloc(0);
	tell('submit', {
		to: pdu.destination_addr,
		from: pdu.source_addr,
		registered_delivery: pdu.registered_delivery,
		data_coding: pdu.data_coding,
		header: header.length ? Buffer.concat([Buffer.from([header.length]), header]).toString('hex') : '',
		text: pdu.short_message.message,
	});
	session.send(pdu.response({message_id: id}));
	const receiver = [...sessions].find((one) => /receiver|transceiver/.test(one.kind));
	receiver.deliver_sm({
		source_addr_ton: 1,
		source_addr_npi: 1,
		source_addr: pdu.destination_addr,
		dest_addr_npi: 1,
		destination_addr: pdu.source_addr,
		esm_class: smpp.ESM_CLASS.MC_DELIVERY_RECEIPT,
		data_coding: 0,
		short_message: `id:${id} sub:001 dlvrd:001 submit date:2611211200 done date:2611211201 stat:DELIVRD err:000 text:`,
		receipted_message_id: id,
		message_state: smpp.MESSAGE_STATE.DELIVERED,
		network_error_code: Buffer.from([3, 0, 0]),
	}, (answer) => tell('receipt_answered', {status: answer.command_status}));
}

const server = smpp.createServer((session) => {
	sessions.add(session);
	session.kind = '';
	for (const kind of ['bind_transceiver', 'bind_transmitter', 'bind_receiver']) {
		session.on(kind, (pdu) => bind(session, kind, pdu));
	}
	session.on('submit_sm', (pdu) => submit(session, pdu));
	session.on('enquire_link', (pdu) => {
		tell('enquire_link');
		session.send(pdu.response());
	});
	session.on('unbind', (pdu) => {
		tell('unbind');
		session.send(pdu.response());
		session.close();
	});
	session.on('unknown', () => tell('error', {detail: 'unknown command'}));
	session.on('error', (error) => tell('error', {detail: String(error)}));
	session.on('close', () => {
		sessions.delete(session);
		tell('closed');
	});
});

readline.createInterface({input: process.stdin}).on('line', (line) => {
	const word = JSON.parse(line).do;
	for (const session of sessions) {
		if (session.kind) {
			session[word]((answer) => {
				tell(answer.command, {status: answer.command_status});
				if (word === 'unbind') {
					session.close();
				}
			});
		}
	}
}).on('close', () => process.exit(0));

server.listen({host: '127.0.0.1', port: 0}, () => tell('listening', {port: server.address().port}));
