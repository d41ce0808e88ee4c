// One JSON string a line in, one JSON object a line out: how two libraries would cut that text.
// {"calculator": {"alphabet", "units": [...], "clusters": [...]}, "split": {"alphabet", "units": [...]}}
'use strict';
const { SegmentedMessage } = require('sms-segments-calculator');
const split = require('split-sms');

function calculator(text) {
  const message = new SegmentedMessage(text);
  const bits = message.encodingName === 'GSM-7' ? 7 : 16;
  return {
    alphabet: message.encodingName === 'GSM-7' ? 'gsm7' : 'ucs2',
    units: message.segments.map((segment) => segment.messageSizeInBits() / bits),
    clusters: message.graphemes.map((grapheme) => Array.from(grapheme).length),
  };
}

function splitSms(text) {
  const result = split.split(text);
  const gsm = result.characterSet === 'GSM';
  return { alphabet: gsm ? 'gsm7' : 'ucs2', units: result.parts.map((part) => part.bytes / (gsm ? 1 : 2)) };
}

require('readline')
  .createInterface({ input: process.stdin })
  .on('line', (line) => {
    const text = JSON.parse(line);
    process.stdout.write(JSON.stringify({ calculator: calculator(text), split: splitSms(text) }) + '\n');
  });
