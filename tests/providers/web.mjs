// The official web provider. Each line of standard input is one command, and gets one line of JSON:
// {"ask": type, "key", "fallback"} evaluates; {"await": true} waits for the next change; {"context": {…}} sets it.
// Node has no EventSource of its own yet: the package's stands in for the browser's.
import { createInterface } from 'node:readline';
import { EventSource } from 'eventsource';
import { OpenFeature, ProviderEvents } from '@openfeature/web-sdk';
import { OFREPWebProvider } from '@openfeature/ofrep-web-provider';

const { baseUrl, headers, context, pollInterval, changeDetection } = JSON.parse(process.argv[2]);
if (changeDetection === 'sse') globalThis.EventSource = EventSource;
let changes = [];
let waiting;
const told = () => {
  if (waiting && changes.length) {
    waiting(changes.shift());
    waiting = undefined;
  }
};
OpenFeature.addHandler(ProviderEvents.ConfigurationChanged, (details) => {
  changes.push({ flagsChanged: details.flagsChanged, message: details.message });
  told();
});
await OpenFeature.setContext(context);
const provider = new OFREPWebProvider({ baseUrl, headers, pollInterval, changeDetection, cacheMode: 'disabled' });
let failed = null;
await OpenFeature.setProviderAndWait(provider).catch((error) => { failed = String(error); });
const client = OpenFeature.getClient();
const ask = {
  boolean: (asked) => client.getBooleanDetails(asked.key, asked.fallback),
  string: (asked) => client.getStringDetails(asked.key, asked.fallback),
  number: (asked) => client.getNumberDetails(asked.key, asked.fallback),
  object: (asked) => client.getObjectDetails(asked.key, asked.fallback),
};
console.log(JSON.stringify({ status: client.providerStatus, failed }));

for await (const line of createInterface({ input: process.stdin })) {
  const command = JSON.parse(line);
  if (command.ask) console.log(JSON.stringify(ask[command.ask](command)));
  if (command.await) console.log(JSON.stringify(await new Promise((resolve) => { waiting = resolve; told(); })));
  if (command.context) {
    await OpenFeature.setContext(command.context);
    console.log(JSON.stringify({ status: client.providerStatus }));
  }
}
await OpenFeature.close();
process.exit(0);
