// The official server provider: one evaluation for each line of standard input, one line of JSON for each answer.
import { createInterface } from 'node:readline';
import { OpenFeature } from '@openfeature/server-sdk';
import { OFREPProvider } from '@openfeature/ofrep-provider';

const { baseUrl, headers } = JSON.parse(process.argv[2]);
await OpenFeature.setProviderAndWait(new OFREPProvider({ baseUrl, headers }));
const client = OpenFeature.getClient();
const ask = {
  boolean: (asked) => client.getBooleanDetails(asked.key, asked.fallback, asked.context),
  string: (asked) => client.getStringDetails(asked.key, asked.fallback, asked.context),
  number: (asked) => client.getNumberDetails(asked.key, asked.fallback, asked.context),
  object: (asked) => client.getObjectDetails(asked.key, asked.fallback, asked.context),
};

for await (const line of createInterface({ input: process.stdin })) {
  const asked = JSON.parse(line);
  console.log(JSON.stringify(await ask[asked.type](asked)));
}
await OpenFeature.close();
