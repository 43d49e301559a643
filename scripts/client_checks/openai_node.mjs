// begin configuration
import OpenAI from "openai";

const client = new OpenAI({ baseURL: "http://127.0.0.1:8000/v1", apiKey: "none" });
// end configuration
import assert from "node:assert";

const messages = [{ role: "user", content: "What is 17 * 23?" }];
const answer = await client.chat.completions.create({ model: "self-consistency", messages, n: 2 });
assert.equal(answer.choices.length, 2);
assert(answer.usage.completion_tokens > 2 * 8);
console.log("done: chat");

let text = "";
const stream = await client.chat.completions.create({ model: "scripted", messages, stream: true });
for await (const chunk of stream) text += chunk.choices[0]?.delta.content ?? "";
assert(text);
console.log("done: stream");

await assert.rejects(
  client.chat.completions.create({ model: "scripted", messages, temperature: 9 }),
  (error) => error instanceof OpenAI.BadRequestError && error.message.includes("temperature"),
);
console.log("done: errors");

const reply = await client.responses.create({ model: "scripted", input: "What is 17 * 23?" });
assert(reply.output_text);
console.log("done: responses");
