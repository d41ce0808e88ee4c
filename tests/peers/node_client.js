// An ESME on npm's smpp. node node_client.js PORT
// One JSON object a line: events on standard output, commands on standard input:
//   {"do": "bind", "kind": "bind_transceiver", "password": "..."}, {"do": "submit", "to": "...", "text": "..."},
//   {"do": "enquire_link"}, {"do": "unbind"}
'use strict';
const readline = require('readline');
const smpp = require('smpp');

const PART_CHARACTERS = 66; // of two octets or two septets at most, behind a header of six octets

function tell(event, fields) {
	process.stdout.write(JSON.stringify({event, ...fields}) + '\n');
}

const session = smpp.connect({host: '127.0.0.1', port: Number(process.argv[2])}, () => tell('connected'));
session.on('enquire_link', (pdu) => {
	tell('enquire_link');
	session.send(pdu.response());
});
session.on('deliver_sm', (pdu) => {
	tell('receipt', {
		esm_class: pdu.esm_class,
		from: pdu.source_addr,
		to: pdu.destination_addr,
		text: pdu.short_message.message,
		id: pdu.receipted_message_id,
		state: pdu.message_state,
	});
	session.send(pdu.response());
});
session.on('unknown', () => tell('error', {detail: 'unknown command'}));
session.on('error', (error) => tell('error', {detail: String(error)}));
session.on('close', () => tell('closed'));

const act = {
	bind({kind, system_id, password}) {
		session[kind]({system_id, password}, (answer) => tell('bound', {
			status: answer.command_status,
			system_id: answer.system_id,
			sc_interface_version: answer.sc_interface_version,
		}));
	},
	submit({to, from, text, reference}) {
		// Without data_coding the library looks at the text: all parts must agree, so it is looked at once.
		const data_coding = smpp.encodings.detect(text) === 'UCS2' ? 8 : 0;
		const whole = text.length <= (data_coding ? 70 : 140);
		const total = whole ? 1 : Math.ceil(text.length / PART_CHARACTERS);
		tell('cut', {to, parts: total});
		for (let number = 1; number <= total; number++) {
			const message = text.slice((number - 1) * PART_CHARACTERS, number * PART_CHARACTERS);
			session.submit_sm({
				source_addr: from,
				dest_addr_ton: 1,
				dest_addr_npi: 1,
				destination_addr: to,
				registered_delivery: 1,
				data_coding,
				short_message: whole ? text : {udh: Buffer.from([5, 0, 3, reference, total, number]), message},
			}, (answer) => tell('answered', {to, status: answer.command_status, id: answer.message_id}));
		}
	},
	payload({to, from, text}) {
		tell('cut', {to, parts: 1});
		session.submit_sm({
			source_addr: from,
			dest_addr_ton: 1,
			dest_addr_npi: 1,
			destination_addr: to,
			registered_delivery: 1,
			data_coding: smpp.encodings.detect(text) === 'UCS2' ? 8 : 0,
			message_payload: text,
		}, (answer) => tell('answered', {to, status: answer.command_status, id: answer.message_id}));
	},
	enquire_link() {
		session.enquire_link((answer) => tell('enquire_link_resp', {status: answer.command_status}));
	},
	unbind() {
		session.unbind((answer) => {
			tell('unbind_resp', {status: answer.command_status});
			session.close();
		});
	},
};

readline.createInterface({input: process.stdin}).on('line', (line) => {
	const order = JSON.parse(line);
	act[order.do](order);
}).on('close', () => process.exit(0));
